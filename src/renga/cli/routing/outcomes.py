"""`renga route outcomes`: what shadow traffic has shown, as the file that `renga route calibrate` reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from renga.cli.shell.options import ConfigOption, DataOption, read_config

if TYPE_CHECKING:
    from renga.domain.outcomes import OutcomeRecord
    from renga.routing.outcomes.outcome_file import OutcomeRow, Outcomes, ParsedOutcomes

PolicyOption: TypeAlias = Annotated[str, typer.Option("--policy", metavar="NAME", help="The policy that decided.")]

ROWS_MAX = 100_000
"""The newest labels; more prove hardly more, and traffic changes."""


def outcomes(policy: PolicyOption = "auto", config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Print what shadow traffic has shown, one JSON object a line: `renga route outcomes > outcomes.jsonl`.

    Only requests of which both answers are known and could be compared; how many could not is said on stderr.
    """
    from renga.routing.outcomes.outcome_file import encode_outcomes

    rows, left_out = _read_rows(config, data_dir, policy)
    sys.stdout.write(encode_outcomes(rows).decode())
    sys.stdout.flush()
    if left_out:
        print(f"{left_out:,} drawn requests are left out: one answer failed, or nobody could compare.", file=sys.stderr)
    if not rows:
        print(
            f"Nothing yet of {policy}. `shadow_share` of [policies.{policy}] says how much is drawn.", file=sys.stderr
        )


def read_shadow(config: Path | None, data_dir: Path | None, policy: str, reading: ParsedOutcomes) -> Outcomes:
    """What shadow traffic has shown, checked as a file would be.

    Raises: ConfigError if a row cannot be used.
    """
    from renga.routing.outcomes.outcome_file import decode_outcomes, encode_outcomes

    rows, _ = _read_rows(config, data_dir, policy)
    return decode_outcomes(encode_outcomes(rows), "shadow traffic", reading)


def _read_rows(config: Path | None, data_dir: Path | None, policy: str) -> tuple[tuple[OutcomeRow, ...], int]:
    """The rows, and how many had to be left out."""
    from renga.cli.shell.database_access import open_configured_database
    from renga.domain.outcomes import OutcomeQuery

    with open_configured_database(read_config(config, data_dir)) as database:
        records = database.outcomes.read(OutcomeQuery(policy=policy, newest=ROWS_MAX))
    rows = to_rows(records)
    return rows, len(records) - len(rows)


def to_rows(records: Sequence[OutcomeRecord]) -> tuple[OutcomeRow, ...]:
    """Drawn requests as calibration knows them; a group is a key."""
    from renga.routing.outcomes.outcome_file import OutcomeRow, RequestSignals

    return tuple(
        OutcomeRow(
            id=record.request_id,
            scores=record.scores,
            group=record.key_id,
            evidence=RequestSignals(**record.evidence),
            costs_nano_usd=record.costs_nano_usd,
            check_nano_usd=record.check_nano_usd or 0,
            propensity=record.propensity or 1.0,
        )
        for record in records
        if len(record.scores) > 1
    )
