"""The commands of README's figures are commands of this repository, with the options that they are printed with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from benchmarks.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOG = (ROOT / "docs/log/figures.md").read_text(encoding="utf-8")
ROWS_MAX = 10
LINES_MAX = 120
BLOCK = re.search(r"^## Measured.*?^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
assert BLOCK is not None
PRINTED = [line.partition("#")[0].strip() for line in BLOCK[1].splitlines()]
LOGGED = [f".venv/bin/python -m {found}" for found in re.findall(r"`(benchmarks\.[^`]+)`", LOG)]
MODULES = sorted({line for line in (*PRINTED, *LOGGED) if " -m benchmarks" in line})


def test_the_readme_is_short_and_its_table_too() -> None:
    assert len(README.splitlines()) <= LINES_MAX
    rows = re.findall(r"^\| .*\((\d)\) \|", README, re.MULTILINE)
    assert len(rows) <= ROWS_MAX
    noted = re.findall(r"# \((\d)\)", README)
    assert sorted(set(rows)) == noted


def test_every_command_is_there() -> None:
    for line in PRINTED:
        program = shlex.split(line)[0]
        assert program in (".venv/bin/python", ".venv/bin/renga") or (ROOT / program).stat().st_mode & 0o111


@pytest.mark.parametrize("command", MODULES)
def test_a_benchmark_knows_its_options(command: str) -> None:
    _, _, module, *words = shlex.split(command)
    assert module in {each.module for each in COMMANDS}
    path = ROOT / Path(*module.split("."))
    source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    for option in (word for word in words if word.startswith("--")):
        assert f'"{option}"' in source, f"{module} has no {option}"


def test_every_benchmark_is_listed() -> None:
    programs = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for file in (ROOT / "benchmarks").rglob("*.py")
        if "def main()" in file.read_text(encoding="utf-8")
    }
    helpers = {
        "benchmarks",
        "benchmarks.engine.bare",
        "benchmarks.gateway.upstream",
        "benchmarks.economy.cache_servers",
    }
    assert programs - helpers == {each.module for each in COMMANDS}
