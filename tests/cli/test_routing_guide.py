"""The commands of the routing guide print what the guide says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.cli.conftest import LIMIT_S, RENGA, Shell

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "routing.md"


def test_the_guide_says_what_the_commands_print(shell: Shell) -> None:
    text = GUIDE.read_text("utf-8")
    (shell.folder / "tiny.jsonl").write_text(find_block(text, "jsonl"))
    (shell.folder / "invent.py").write_text(find_block(text, "python"))
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
        expected = "".join(f"{line}\n" for line in block.splitlines() if not line.startswith("$ "))
        printed = "".join(run_line(shell, command) for command in commands)
        assert hide_moments(printed) == hide_moments(expected), commands


def run_line(shell: Shell, command: str) -> str:
    """What a line of the guide prints. Only `renga` runs in this process: eight more would cost 6 s."""
    if command.startswith("renga "):
        done = shell.call(*shlex.split(command)[1:])
        return done.out + done.err
    path = os.pathsep.join((str(RENGA.parent), os.environ["PATH"]))
    return subprocess.run(
        ["sh", "-c", command],
        cwd=shell.folder, env=shell.environ | {"PATH": path}, text=True, timeout=LIMIT_S, check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ).stdout  # fmt: skip


def find_block(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def hide_moments(text: str) -> str:
    """Without the day and the microseconds, which are each run's own."""
    return re.sub(r"(made on    ).*", r"\1DAY", re.sub(r"\d+ us \(", "N us (", text))
