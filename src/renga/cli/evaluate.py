"""The command `renga eval`, which scores a model on the task suites."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from renga.cli.shell.options import ConfigOption, DataOption, UrlOption, read_config


def evaluate(
    model: Annotated[str, typer.Argument(help="As clients name it: hokku, haiku, vllm/qwen3-8b.")] = "hokku",
    config: ConfigOption = None,
    data_dir: DataOption = None,
    url: UrlOption = None,
    cases: Annotated[int, typer.Option(min=1, help="At most so many cases a suite.")] = 200,
    suite: Annotated[list[str] | None, typer.Option(help="Only suites whose name begins so; may be repeated.")] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Also measure speed.")] = False,
    outcomes: Annotated[
        Path | None,
        typer.Option("--outcomes", metavar="FILE", help="Write answers' confidence here, for `renga route curves`."),
    ] = None,
) -> None:
    """Score a model on the public task sets, through the Messages API, beside cheap baselines.

    `scripts/data get eval` obtains the sets; suites whose set is not here are left out. Without --url a server is
    started for it.
    """
    from renga.cli.shell.server_connection import environ, open_connection, wait_ready
    from renga.errors import ConfigError
    from renga.services.evals.datasets.locations import missing_reason
    from renga.services.evals.eval_report import Calibration, SuiteRow, can_run_any, render_rows, run_suites
    from renga.services.evals.http_answerer import HttpAnswerer

    if not speed and not can_run_any(suite or []) and (missing := missing_reason("eval")):
        raise ConfigError(missing)

    def tell(row: SuiteRow) -> None:
        print(render_rows([row]).split("\n", 2)[2], flush=True)

    settings = read_config(config, data_dir)
    with open_connection(settings, url, environ()) as connection:
        wait_ready(connection, settings)
        print("\n".join(render_rows([]).split("\n")[:2]), flush=True)
        calibration, answerer = Calibration(), HttpAnswerer(connection.url, connection.secret, model)
        left_out: list[str] = []
        run_suites(
            answerer,
            cases_most=cases,
            names=suite or [],
            told=tell,
            calibration=calibration,
            left_out=left_out.append,
        )
        if left_out:
            print(f"renga: {missing_reason('eval')}. Left out: {'; '.join(left_out)}", file=sys.stderr)
        if outcomes is not None:
            import msgspec

            outcomes.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in calibration.outcomes(model)))
        if speed:
            from renga.services.evals.speed import measure_speed, render_speed

            print("\n" + render_speed(measure_speed(connection.url, connection.secret)))
