"""The reference is made of the code, whole and fresh."""

from __future__ import annotations

from pathlib import Path

from renga.cli import reference
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
    for name in (
        "serve",
        "ask",
        "models",
        "usage",
        "doctor",
        "get",
        "keys create",
        "keys list",
        "keys revoke",
        "route calibrate",
        "route check",
        "route curves",
        "route explain",
    ):
        assert f"## `renga {name}`" in commands
