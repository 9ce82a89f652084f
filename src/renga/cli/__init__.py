"""The `renga` command: one file a command.

Owns: arguments, what is printed, exit codes (0 done, 1 failed, 2 used wrongly, 130 Ctrl-C).
Must never know: how anything works; it asks `app`, or a server over HTTP like any client.
Invariants: an error is one line on stderr, a traceback appears only with `--debug`; a command imports what it needs
when it runs, so that `renga --help` stays quick and `renga serve` loses no time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
    except KeyboardInterrupt:  # while the command's parts were imported
        from renga.cli.shell.exit_code import INTERRUPTED

        code = INTERRUPTED
    sys.exit(code)


def _run(words: list[str]) -> int:
    if words == ["serve"]:
        # A server's way to its first answer. Typer and the pydantic below it cost 100 ms and 15 MB that it never needs.
        from renga.cli.launch import start_by_default
        from renga.cli.shell.exit_code import run_command

        return run_command(start_by_default, debug=False)
    from renga.cli.program.commands import run

    return run(words)
