"""The reference is made of the code, whole and fresh."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from renga.cli import reference
from renga.cli.program.commands import build_command
from renga.cli.program.examples import EXAMPLES
from renga.config import settings_table


def test_the_committed_pages_are_fresh() -> None:
    folder = Path(__file__).parents[2] / "docs" / "reference"
    assert reference.main(["--check", str(folder)]) == 0


def test_stale_pages_are_found_and_mended(tmp_path: Path) -> None:
    assert reference.main(["--check", str(tmp_path)]) == 1
    assert reference.main([str(tmp_path)]) == 0
    assert reference.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "cli.md").write_text("old")
    assert reference.main(["--check", str(tmp_path)]) == 1


def test_every_error_has_its_meaning() -> None:
    assert set(reference._MEANINGS) == set(reference.list_errors())


def test_every_setting_and_command_is_there() -> None:
    settings = reference.render_settings()
    assert all(f"`{row.name.rpartition('.')[2]}`" in settings for row in settings_table())
    commands = reference.render_commands()
    for name in list_commands():
        assert f"## `renga {name}`" in commands


def list_commands() -> dict[str, Any]:
    """All that do something by themselves, as click has them."""
    found: dict[str, Any] = {}

    def walk(group: Any, prefix: str) -> None:
        for name, command in group.commands.items():
            if not hasattr(command, "commands") or command.invoke_without_command:
                found[prefix + name] = command
            if hasattr(command, "commands"):
                walk(command, f"{prefix}{name} ")

    walk(build_command(), "")
    return found


def test_every_command_has_an_example_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("reviews.jsonl", "outcomes.jsonl", "certificate.json"):
        Path(file).touch()
    commands = list_commands()
    assert set(EXAMPLES) == set(commands)
    for name, example in EXAMPLES.items():
        words = shlex.split(example.partition(" > ")[0])
        context = commands[name].make_context(name, words)  # raises where it does not know a word
        assert context.command.epilog == f"Example: renga {name} {example}"
