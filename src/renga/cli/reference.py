"""docs/reference, built from code: `python -m renga.cli.reference [--check] [FOLDER]`.

Owns: the layout of settings.md, cli.md and errors.md. Must never know: anything that is not in the code it reads.
Invariant: the same code gives the same bytes, so that `--check` can compare.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from renga import errors
from renga.config import VARIABLES, Setting, settings_table
from renga.errors import ConfigError, RengaError

_FOLDER = Path("docs/reference")
_HEAD = "<!-- Made by `python -m renga.cli.reference`; change the code, not this file. -->\n"
_WIDTH = 100

_MEANINGS: dict[type[RengaError], str] = {
    errors.InvalidRequest: "The request is wrong. The message begins with the place in the JSON.",
    errors.Unauthenticated: "No key, or one that is unknown or revoked. `renga keys list` shows the working ones.",
    errors.PaymentRequired: "An upstream wants to be paid first.",
    errors.PermissionDenied: "The key may not do this, here or at the upstream.",
    errors.NotFound: "No such route, or no such model. `GET /v1/models` lists the models.",
    errors.MethodNotAllowed: "The route exists, for another method.",
    errors.RequestTimedOut: "The body did not come within `server.body_timeout_s`.",
    errors.Conflict: "The request collides with another one.",
    errors.RequestTooLarge: "The body is larger than `server.max_body_bytes`.",
    errors.RateLimited: "A limit of the key or the upstream is reached; `retry-after` says when to come back. With the "
    "error code `enforced_spend_limit_reached` it is the key's budget (guides/limits.md).",
    errors.ApiError: "Something failed here or at the upstream. The request id is in the log.",
    errors.EngineDied: "The engine process ended while it answered. A new one starts by itself.",
    errors.UpstreamTimedOut: "The upstream did not answer within its time limits (`providers.NAME.*_timeout_s`).",
    errors.Overloaded: "Every place and the waiting line are taken (`engine.max_waiting`); see `retry-after`.",
}
"""What each error tells its reader. A test holds it against the error tree."""


def render_settings() -> str:
    """The text of settings.md: every setting, by section."""
    lines = [
        _HEAD,
        "# Settings\n",
        "Renga reads one file, the first of: `--config FILE`, `RENGA_CONFIG`, `./renga.toml`, and `renga.toml` in the",
        "user's settings folder. Every setting below that has a variable can also be set by it; the variable wins.",
        "Lists in variables are separated by commas. An unknown key or variable is refused, with its file and line.",
        "Secrets are never written into the file: it names the environment variable that holds one.\n",
        "With `ANTHROPIC_API_KEY` set and no `[providers.anthropic]`, that provider is there without being written.\n",
    ]
    section = ""
    for row in settings_table():
        head = row.name.rpartition(".")[0]
        if head != section:
            section = head
            lines += ["", f"## `[{section}]`\n", "| setting | default | what it is |", "|---|---|---|"]
        lines.append(_render_setting(row))
    lines += ["", "## Other variables\n", "| variable | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in VARIABLES.items()]
    return "\n".join(lines) + "\n"


def _render_setting(row: Setting) -> str:
    name = f"`{row.name.rpartition('.')[2]}`" + (f"<br>`{row.variable}`" if row.variable else "")
    unit = f", {row.unit}" if row.unit else ""
    default = row.default if row.default in ("required", "none") else f"`{row.default}`"
    return f"| {name} | {default} | {row.help} {row.type[0].upper()}{row.type[1:]}{unit}. |"


def render_commands() -> str:
    """cli.md: what `--help` prints, command by command."""
    from typer.core import TyperGroup

    from renga.cli.program.commands import build_command

    lines = [
        _HEAD,
        "# Commands\n",
        "Exit codes: 0 done, 1 failed, 2 used wrongly, 130 Ctrl-C. An error is one line on stderr; `renga --debug`",
        "before the command adds the traceback.\n",
    ]

    def walk(command: object, name: str) -> Iterator[str]:
        context = command.make_context(  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
            name, [], resilient_parsing=True, terminal_width=_WIDTH, max_content_width=_WIDTH
        )
        text = str(command.get_help(context))  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
        yield f"## `{name}`\n\n```text\n{text.rstrip()}\n```\n"
        if isinstance(command, TyperGroup):
            for child, each in command.commands.items():
                yield from walk(each, f"{name} {child}")

    lines += list(walk(build_command(), "renga"))
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def render_errors() -> str:
    """The text of errors.md: every error that a client may get."""
    lines = [
        _HEAD,
        "# Errors\n",
        "Every response that is not a success has this body, and a stream that fails ends with it as an event:\n",
        "```json",
        '{"type": "error", "error": {"type": "...", "message": "...", "details": {"error_code": "..."}}, '
        '"request_id": "req_..."}',
        "```\n",
        "`details` is there only where an error code is defined. Official SDKs have a class a status.",
        "Renga itself tries the next target of the plan after an error marked as retried.\n",
        "| status | `error.type` | class | retried elsewhere | meaning |",
        "|---|---|---|---|---|",
    ]
    for error in sorted(list_errors(), key=lambda error: error.status):
        retried = "yes" if error.retryable else "no"
        lines.append(f"| {error.status} | `{error.type}` | `{error.__name__}` | {retried} | {_MEANINGS[error]} |")
    return "\n".join(lines) + "\n"


def list_errors() -> list[type[RengaError]]:
    """The errors of the tree that a client can meet, in the order they are drawn."""

    def walk(error: type[RengaError]) -> Iterator[type[RengaError]]:
        for child in error.__subclasses__():
            if child.__module__ == errors.__name__ and child is not ConfigError:
                yield child
                yield from walk(child)

    return list(walk(RengaError))


PAGES = {"settings.md": render_settings, "cli.md": render_commands, "errors.md": render_errors}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say which are stale. Returns the exit code."""
    check = "--check" in arguments
    folders = [Path(argument) for argument in arguments if not argument.startswith("-")]
    folder = folders[0] if folders else _FOLDER
    stale: list[str] = []
    for name, render in PAGES.items():
        file, text = folder / name, render()
        if file.exists() and file.read_text("utf-8") == text:
            continue
        stale.append(name)
        if not check:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
    if check and stale:
        print(f"{folder}: stale: {', '.join(stale)}; run python -m renga.cli.reference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # Help texts name a terminal's width and a user's settings; the pages must not depend on who makes them.
    for variable in [name for name in os.environ if name.startswith("RENGA_") or name in ("COLUMNS", "FORCE_COLOR")]:
        del os.environ[variable]
    sys.exit(main(sys.argv[1:]))
