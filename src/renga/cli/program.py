"""The commands as one program, and what happens to their errors."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer
from typer.core import TyperCommand
from typer.main import get_command

from renga import __version__
from renga.cli.ask import ask
from renga.cli.doctor import doctor
from renga.cli.get import get
from renga.cli.keys import keys
from renga.cli.models import models
from renga.cli.serve import serve
from renga.cli.usage import usage
from renga.errors import RengaError

FAILED = 1
USED_WRONGLY = 2
INTERRUPTED = 130


def build_program() -> typer.Typer:
    """All commands."""
    program = typer.Typer(
        name="renga",
        help="Renga, a self-hosted Haiku tier: the Messages API over a small local model and the tiers above it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    program.callback()(_options)
    for command in (serve, ask, models, usage, doctor, get):
        program.command()(command)
    program.add_typer(keys, name="keys")
    return program


def run(arguments: list[str]) -> int:
    """Run one command. Returns its exit code; never raises but for a bug, and then only with `--debug`."""
    debug = "--debug" in arguments
    command = get_command(build_program())
    assert not isinstance(command, TyperCommand)
    try:
        code = command.main(arguments, prog_name="renga", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough, as in `renga usage | head`. Keep Python from failing again at exit.
        sys.stdout = None
        return FAILED
    except RengaError as error:
        if debug:
            traceback.print_exc()
        _complain(error.sentence())
        return FAILED
    except Exception as error:
        code = getattr(error, "exit_code", None)
        render = getattr(error, "format_message", None)
        if code is not None and callable(render):
            _complain(f"{render()} (`renga --help` says what there is)")
            return USED_WRONGLY
        if debug:
            traceback.print_exc()
        _complain(f"{type(error).__name__}: {error} (this is a bug; `renga --debug ...` shows where)")
        return FAILED


def _complain(message: str) -> None:
    print(f"renga: {message}", file=sys.stderr)


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
    """Options before the command."""
