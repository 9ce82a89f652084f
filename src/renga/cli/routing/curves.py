"""`renga route curves`: what a target's evidence is worth, fitted on outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from renga.cli.shell.options import JsonOption


def curves(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Outcomes: one JSON object a line.")],
    target: Annotated[str, typer.Option("--target", metavar="TARGET", help="Whose answers these are: local/hokku.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Write the curves here.")],
    small: Annotated[str, typer.Option("--small", metavar="NAME", help="As the outcomes name it.")] = "haiku",
    as_json: JsonOption = False,
) -> None:
    """Fit the curves that turn log-probabilities and agreement into confidence, for `curves` of a policy.

    They are worth something for requests like those in the file, and for no others.
    """
    from datetime import UTC, datetime

    from renga.cli.shell.table import print_json
    from renga.errors import ConfigError
    from renga.routing.checks.evidence_curves import encode_curves, fit_curves
    from renga.routing.outcomes.outcome_file import ParsedOutcomes, read_outcomes

    if output.resolve() == data.resolve():
        raise typer.BadParameter("it would overwrite the outcomes", param_hint="--output")
    if not all(target.partition("/")):
        raise typer.BadParameter(f"{target!r} is not a target; write provider/model", param_hint="--target")
    outcomes = read_outcomes(data, ParsedOutcomes((small,), rows_min=0))
    fitted = fit_curves(outcomes, small, target, datetime.now(UTC).date().isoformat())
    try:
        output.write_bytes(encode_curves(fitted))
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", path=str(output)) from error
    if as_json:
        print_json(fitted)
        return
    for check, curve in fitted.curves.items():
        print(f"{check:<10} {curve.rows:,} labels, calibration error {curve.error:.3f} on labels not fitted on")
    print(f'Wrote {output}. `curves = "{output}"` in [policies.NAME] puts them in force for {target}.')
