"""The commands as one program, and what happens to their errors."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.main import get_command

from renga import __version__
from renga.cli.accounts.audit import audit
from renga.cli.accounts.keys import keys
from renga.cli.accounts.requests import requests
from renga.cli.accounts.usage import usage
from renga.cli.accounts.workspaces import workspaces
from renga.cli.ask import ask
from renga.cli.batches.batch import batch
from renga.cli.doctor.checks import doctor
from renga.cli.evaluate import evaluate
from renga.cli.get import get
from renga.cli.models import models
from renga.cli.program.examples import EXAMPLES
from renga.cli.routing.route import route
from renga.cli.serve import serve
from renga.cli.shell.exit_code import run_command


def build_program() -> typer.Typer:
    """All commands as one program, with their groups."""
    program = typer.Typer(
        name="renga",
        help="Renga, a self-hosted Haiku tier: the Messages API over a small local model and the tiers above it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    program.callback()(_options)
    for command in (serve, ask, models, requests, audit, doctor, get):
        program.command()(command)
    program.command("eval")(evaluate)
    program.add_typer(batch, name="batch")
    program.add_typer(usage, name="usage")
    program.add_typer(keys, name="keys")
    program.add_typer(workspaces, name="workspaces")
    program.add_typer(route, name="route")
    return program


def build_command() -> Any:
    """All commands as click has them, each with its example. Not typed: typer keeps its click to itself."""
    command = get_command(build_program())
    for name, words in EXAMPLES.items():
        found: Any = command
        for part in name.split():
            found = found.commands[part]
        found.epilog = f"Example: renga {name} {words}"
    return command


def run(arguments: list[str]) -> int:
    """Run one command. Returns its exit code."""
    debug = "--debug" in arguments
    if debug:
        import logging

        logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s")
    command = build_command()
    return run_command(lambda: command.main(arguments, prog_name="renga", standalone_mode=False), debug=debug)


def _show_version(value: bool) -> None:
    if value:
        print(f"renga {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """The options that may stand before the command."""
