"""`renga route head`: triage that learned from your own labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from renga.cli.shell.options import JsonOption


def head(
    data: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="Outcomes with `prompt`: one JSON object a line.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Write the head here.")],
    small: Annotated[str, typer.Option("--small", metavar="NAME", help="Whose answers may be kept.")] = "haiku",
    large: Annotated[str, typer.Option("--large", metavar="NAME", help="Who answers the rest.")] = "opus",
    as_json: JsonOption = False,
) -> None:
    """Fit the score of triage to your own labels, for `head` of a policy.

    It tells how well it ranks requests that it was not fitted on, beside the score that ships. It is worth something
    for requests like those in the file, and for no others.
    """
    from datetime import UTC, datetime

    from renga.cli.shell.table import print_json, print_lines
    from renga.errors import ConfigError
    from renga.routing.outcomes.outcome_file import ParsedOutcomes, read_outcomes
    from renga.routing.triage.learned_head import compare_heads, encode_head, fit_head, read_labels
    from renga.routing.triage.scorer import load_prior

    if output.resolve() == data.resolve():
        raise typer.BadParameter("it would overwrite the outcomes", param_hint="--output")
    labels = read_labels(
        read_outcomes(data, ParsedOutcomes((small, large))), small, large, datetime.now(UTC).date().isoformat()
    )
    if not labels.features:
        raise ConfigError(
            "no row has a prompt, by which to score", path=str(data), hint="shadow traffic keeps none: add them"
        )
    prior = load_prior()
    ranks = compare_heads(labels, prior)
    try:
        output.write_bytes(encode_head(fit_head(labels, prior)))
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", path=str(output)) from error
    if as_json:
        print_json({"rows": len(labels.features), "own": ranks.own, "prior": ranks.prior})
        return
    print_lines(
        [
            ("rows", f"{len(labels.features):,} with a prompt"),
            ("this head", _render(ranks.own)),
            ("as shipped", _render(ranks.prior)),
        ]
    )
    print(f'Wrote {output}. `head = "{output}"` in [policies.NAME] puts it in force.')


def _render(rank: float | None) -> str:
    if rank is None:
        return "not known: the large model was better on every row, or on none"
    return f"ranks {100 * rank:.1f} % of pairs right, on rows not fitted on (50 %: chance)"
