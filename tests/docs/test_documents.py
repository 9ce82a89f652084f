"""What documents point at is there, and the commands that they print are commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from renga.cli.program.commands import build_command

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    file
    for pattern in ("*.md", *(f"{name}/**/*.md" for name in ("docs", "examples", "deploy", "training", "src")))
    for file in ROOT.glob(pattern)
)
NAMES = [str(file.relative_to(ROOT)) for file in DOCUMENTS]
ARCHITECTURE_LINES_MAX = 200


def prose(file: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(file: Path) -> set[str]:
    """The headings of a document as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(file), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(file)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("file", DOCUMENTS, ids=NAMES)
def test_files_that_are_named_are_there(file: Path) -> None:
    """Paths in backticks: from the repository's root, or modules from the package's."""
    for path in re.findall(r"`((?:docs|tests|src|scripts|benchmarks|deploy|training)/[\w./-]+)`", prose(file)):
        assert "NNNN" in path or (ROOT / path).exists(), f"{path} is not there"
    if "log" not in file.parts and "decisions" not in file.parts:  # those tell of what was
        for path in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", prose(file)):
            assert any(
                (folder / path).exists() for folder in (ROOT, ROOT / "src", ROOT / "src" / "renga", file.parent)
            ), f"{path} is not there"


def commands(file: Path) -> Iterator[str]:
    """The lines of shell blocks that call `renga` or `scripts/serve`, put together where they are continued."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        found = re.search(
            r"(?:^|\$ |\$\(|&& |: )(?:\.venv/bin/)?(renga|scripts/serve) (?!listens)([^)]*)", line.split("  #")[0]
        )
        if found is not None and not line.startswith("renga: "):
            yield ("serve " if found[1] == "scripts/serve" else "") + re.split(r" [|>] ?", found[2])[0]


@pytest.mark.parametrize(("file", "command"), [(file, command) for file in DOCUMENTS for command in commands(file)])
def test_commands_are_taken(file: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    for word in words:
        if word.endswith((".jsonl", ".json", ".toml")):
            Path(word).touch()
    parsed: Any = build_command()
    while words and hasattr(parsed, "commands") and not words[0].startswith("-"):
        parsed = parsed.commands[words.pop(0)]
    parsed.make_context("renga", words)  # raises where it does not know a word


def test_decisions_are_numbered_once_each() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [int(file.name[:4]) for file in files]
    assert len(set(numbers)) == len(numbers)
    for file, number in zip(files, numbers, strict=True):
        assert file.read_text(encoding="utf-8").startswith(f"# {number:04d}: "), file.name


def test_the_architecture_stays_a_birds_eye() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= ARCHITECTURE_LINES_MAX


@pytest.mark.parametrize("file", DOCUMENTS, ids=NAMES)
def test_no_document_knows_the_machine_it_was_written_on(file: Path) -> None:
    assert not re.search(r"/(?:work|root|home/\w+|opt/(?:pypi|wheels))/", file.read_text(encoding="utf-8"))
