"""How a command ends: its exit code, and one line where it failed."""

from __future__ import annotations

import sys
from collections.abc import Callable

from renga.errors import RengaError

DONE = 0
FAILED = 1
USED_WRONGLY = 2
INTERRUPTED = 130
"""As shells report a program that SIGINT ended."""


def run_command(command: Callable[[], object], *, debug: bool) -> int:
    """Run it and turn whatever it raises into an exit code and a line on stderr."""
    try:
        code = command()
        return code if isinstance(code, int) else DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough, as in `renga usage | head`. Keep Python from failing again at exit.
        sys.stdout = None
        return FAILED
    except RengaError as error:
        _complain(error.sentence(), debug=debug)
        return FAILED
    except Exception as error:
        code = getattr(error, "exit_code", None)
        render = getattr(error, "format_message", None)
        if type(error).__name__ == "NoArgsIsHelpError" and callable(render):
            print(render(), file=sys.stderr)  # a group without a command: its help, as it stands
            return USED_WRONGLY
        if code is not None and callable(render):
            _complain(f"{render()} (`renga --help` says what there is)", debug=False)
            return USED_WRONGLY
        _complain(f"{type(error).__name__}: {error} (this is a bug; `renga --debug ...` shows where)", debug=debug)
        return FAILED


def _complain(message: str, *, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"renga: {message}", file=sys.stderr)
