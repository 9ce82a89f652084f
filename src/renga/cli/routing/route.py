"""`renga route calibrate|check`; the group's other commands have files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from renga.cli.routing.curves import curves
from renga.cli.routing.explain import explain
from renga.cli.routing.head import head
from renga.cli.routing.outcomes import PolicyOption, outcomes, read_shadow
from renga.cli.routing.report import report
from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config
from renga.cli.shell.table import print_lines

if TYPE_CHECKING:
    from renga.routing.certificates.certificate import Certificate, CertificateQuestion, CertificateRefusal
    from renga.routing.outcomes.outcome_file import Outcomes

route = typer.Typer(
    help="Prove what may be kept at the small tier, and see what routing does and why.", no_args_is_help=True
)
route.command("report")(report)
route.command("outcomes")(outcomes)
route.command("explain")(explain)
route.command("curves")(curves)
route.command("head")(head)

Ranking: TypeAlias = Literal["confidence", "agreement", "mean_logprob", "triage"]
"""`routing/certificates/certificate.py` has the same; it is not imported for `--help`, because numpy would be."""

FloorOption: TypeAlias = Annotated[
    float, typer.Option("--floor", metavar="POINTS", help="At most so many points of 100 below the large model.")
]
GroupOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="NAME",
        help="Prove it for this group of rows, a key or a route; with few labels everyone's proof stands, at a "
        "stricter threshold.",
    ),
]


@route.command("calibrate")
def calibrate(
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Outcomes: one JSON object a line (guides/routing.md)."),
    ] = None,
    from_shadow: Annotated[
        bool, typer.Option("--from-shadow", help="Use what shadow traffic has shown, out of the database.")
    ] = False,
    policy: PolicyOption = "auto",
    floor: FloorOption = 2.0,
    confidence: Annotated[
        float, typer.Option("--confidence", metavar="P", help="How sure to be of that, 0.5 to 1.")
    ] = 0.9,
    small: Annotated[str, typer.Option("--small", metavar="NAME", help="Whose answers may be kept.")] = "haiku",
    large: Annotated[str, typer.Option("--large", metavar="NAME", help="Who answers the rest.")] = "opus",
    ranking: Annotated[Ranking, typer.Option("--ranking", help="Which evidence decides what is kept.")] = "confidence",
    group: GroupOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the certificate here.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Find the threshold that saves most while the floor is proven to hold, and write its certificate.

    Exit code 1 if nothing can be proven: then everything has to be escalated.
    """
    from datetime import UTC, datetime

    from renga.cli.shell.table import print_json
    from renga.routing.certificates.certificate import CertificateQuestion, CertificateRefusal
    from renga.routing.outcomes.outcome_file import ParsedOutcomes, read_outcomes

    _check_names(small, large)
    _check_files(data, output, from_shadow=from_shadow)
    question = CertificateQuestion(
        small,
        large,
        floor,
        confidence,
        ranking=ranking,
        created_on=datetime.now(UTC).date().isoformat(),
        head_sha256=_read_head_sha256(config, data_dir, policy) if ranking == "triage" else "",
    )
    # Too few are an answer here: the refusal says how many it takes.
    reading = ParsedOutcomes((small, large), rows_min=0)
    known = read_shadow(config, data_dir, policy, reading) if data is None else read_outcomes(data, reading)
    found = _prove(known, question, group)
    if not isinstance(found, CertificateRefusal) and output is not None:
        _write_certificate(found, output)
    if as_json:
        print_json({"refused": found} if isinstance(found, CertificateRefusal) else found)
    elif isinstance(found, CertificateRefusal):
        _print_refusal(found, question, output)
    else:
        _print_proof(found, known, question)
        _print_proven(output, found, policy)
    if isinstance(found, CertificateRefusal):
        raise typer.Exit(1)


@route.command("check")
def check(
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate of `renga route calibrate`.")],
    as_json: JsonOption = False,
) -> None:
    """Read a certificate and print what it proves. One that is damaged or was edited is refused."""
    from renga.cli.shell.table import print_json
    from renga.routing.certificates.certificate import load_certificate

    found = load_certificate(certificate)
    if as_json:
        print_json(found)
        return
    unit = f"of what {found.top} alone costs" if found.counts == "dollars" else f"of {found.top}'s calls"
    print_lines(
        [
            *_render_certificate(found, f"{found.rows:,}", unit),
            *_render_group(found),
            *([("head", f"sha256 {found.head_sha256}")] if found.head_sha256 else []),
            ("data", f"sha256 {found.data_sha256}"),
            ("made on", found.created_on or "unknown"),
        ]
    )
    print("The seal fits. `certificate` in [policies.NAME] of renga.toml puts it in force.")


def _check_names(small: str, large: str) -> None:
    """Raises: BadParameter if both are the same model."""
    if small == large:
        raise typer.BadParameter(f"{small!r} is the small model too; name two", param_hint="--large")


def _check_files(data: Path | None, output: Path | None, *, from_shadow: bool) -> None:
    """Raises: BadParameter if there is no source or two of them, or the certificate would replace it."""
    if (data is None) != from_shadow:
        raise typer.BadParameter("give --data FILE or --from-shadow, one of the two", param_hint="--data")
    if output is not None and data is not None and output.resolve() == data.resolve():
        raise typer.BadParameter("it would overwrite the outcomes", param_hint="--output")


def _prove(outcomes: Outcomes, question: CertificateQuestion, group: str | None) -> Certificate | CertificateRefusal:
    """What the floor says, with what would make its answer meaningless refused first.

    Raises: ConfigError naming the file if no row has the evidence or is of the group.
    """
    from renga.routing.certificates.certificate import CertificateRefusal, calibrate
    from renga.routing.outcomes.outcome_file import ROWS_MIN

    _check_evidence(outcomes, question)
    found = calibrate(outcomes, question) if group is None else _prove_group(outcomes, question, group)
    if isinstance(found, CertificateRefusal):
        return found
    if found.rows < ROWS_MIN:
        detail = f"{found.rows} labels are too few to choose among thresholds: {ROWS_MIN} are needed."
        return CertificateRefusal("too_few_rows", f"{detail} Everything is escalated.", found.rows, ROWS_MIN)
    return found


def _prove_group(outcomes: Outcomes, question: CertificateQuestion, group: str) -> Certificate | CertificateRefusal:
    from renga.errors import ConfigError
    from renga.routing.certificates.certificate import calibrate_groups

    found = calibrate_groups(outcomes, question)
    if group not in found:
        names = ", ".join(repr(name) for name in sorted(found)[:5])
        raise ConfigError(f"no row is of group {group!r}", path=outcomes.name or None, hint=f"there are {names}")
    return found[group]


def _read_head_sha256(config: Path | None, data_dir: Path | None, policy: str) -> str:
    """Of the head whose scores the policy goes by and the server writes down."""
    from renga.routing.triage.learned_head import load_head
    from renga.routing.triage.scorer import load_prior

    own = read_config(config, data_dir).policies.get(policy)
    head = load_prior() if own is None or own.head is None else load_head(Path(own.head).expanduser())
    return head.sha256


def _check_evidence(outcomes: Outcomes, question: CertificateQuestion) -> None:
    """Raises: ConfigError if no row has the evidence that ranks; it names what the rows have instead."""
    from renga.errors import ConfigError
    from renga.routing.outcomes.outcome_file import RequestSignals

    evidence = [row.evidence for row in outcomes.rows]
    present = [
        name
        for name in RequestSignals.__struct_fields__
        if any(getattr(signals, name) is not None for signals in evidence)
    ]
    if not evidence or question.ranking in present:
        return
    others = ", ".join(f"--ranking {name}" for name in present)
    raise ConfigError(
        f"no row has evidence.{question.ranking}, by which to rank",
        path=outcomes.name or None,
        hint=f"the rows allow {others}" if others else "guides/routing.md shows what a row looks like",
    )


def _render_rows(found: Certificate, outcomes: Outcomes) -> str:
    count = len(outcomes.rows)
    with_evidence = sum(getattr(row.evidence, found.ranking) is not None for row in outcomes.rows)
    share = "all" if with_evidence == count else f"{with_evidence:,}"
    text = f"{count:,}, {share} with evidence.{found.ranking}"
    if with_evidence < count:
        text += "; the others are never kept"
    if found.rows < count:
        text += f"; {found.rows:,} drawn of them, so that each had the same chance to be labelled"
    return text


def _saving_unit(outcomes: Outcomes, question: CertificateQuestion) -> str:
    pair = (question.small, question.top)
    priced = sum(all(name in row.costs_nano_usd for name in pair) for row in outcomes.rows)
    if priced == len(outcomes.rows):
        return f"of what {question.top} alone costs"
    missing = "no costs" if not priced else f"costs in {priced:,} rows only"
    return f"of {question.top}'s calls ({missing}, so calls are counted)"


def _render_certificate(found: Certificate, rows: str, unit: str) -> list[tuple[str, str]]:
    """The lines that `calibrate` and `check` share."""
    if found.ranking == "triage":
        rule = f"triage <= {-found.threshold + 0.0:.6g}"
    else:
        rule = f"{found.ranking} >= {found.threshold:.6g}"
    return [
        ("rows", rows),
        ("floor", _render_floor(found.floor_points, found.top)),
        ("confidence", _render_share(found.confidence)),
        ("bound", f"{found.bound_points:.2f} points ({found.loss_points:.2f} seen; {found.method} test)"),
        ("threshold", f"{found.small} is kept where {rule}"),
        ("kept", f"{100 * found.kept_share:.1f} % of requests"),
        (
            "saving",
            f"{100 * found.saving_share:.1f} % {unit}; 90 % interval {100 * found.saving_low:.1f} to "
            f"{100 * found.saving_high:.1f} %",
        ),
    ]


def _render_group(found: Certificate) -> list[tuple[str, str]]:
    shrunk = f"; the proof is everyone's, the threshold its own, from {found.group_rows:,} rows"
    return [("group", found.group + (shrunk if found.group_rows else ""))] if found.group else []


def _render_floor(points: float, top: str) -> str:
    return f"{points:g} point{'' if points == 1 else 's'} below {top}"


def _render_share(share: float) -> str:
    return f"{100 * share:.10g} %"


def _print_refusal(refusal: CertificateRefusal, question: CertificateQuestion, output: Path | None) -> None:
    print_lines(
        [
            ("rows", f"{refusal.rows:,}"),
            ("floor", _render_floor(question.floor_points, question.top)),
            ("confidence", _render_share(question.confidence)),
        ]
    )
    print(f"Nothing may be kept: {refusal.detail}")
    if output is not None:
        print(f"{output} was not written." + (" The one that is there is older." if output.exists() else ""))


def _print_proof(found: Certificate, known: Outcomes, question: CertificateQuestion) -> None:
    proof = known.groups()[found.group] if found.group and not found.group_rows else known
    lines = _render_certificate(found, _render_rows(found, proof), _saving_unit(proof, question))
    print_lines([*lines, *_render_group(found)])


def _print_proven(output: Path | None, found: Certificate, policy: str) -> None:
    if output is None:
        print("No file was written; -o FILE writes the certificate.")
        return
    print(f"Wrote {output}. These lines in renga.toml put it in force:")
    print(f'  [policies.{policy}]\n  floor_points = {found.floor_points:g}\n  certificate = "{output}"')


def _write_certificate(found: Certificate, output: Path) -> None:
    """Write it whole or not at all: a reader never meets half a certificate.

    Raises: ConfigError if it cannot be written; a file that was there is then unchanged.
    """
    import os

    from renga.errors import ConfigError
    from renga.routing.certificates.certificate import encode_certificate

    half = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        half.write_bytes(encode_certificate(found))
        half.replace(output)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise ConfigError(f"cannot be written: {error.strerror}", path=str(output)) from error
