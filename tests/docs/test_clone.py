"""Every command that README and the guides print runs as printed, in a clone with nothing beside it.

What is run, what is not and why is pinned below, so that a new block is seen here whatever becomes of it. By default
README and the first hour are run, and the clone borrows the packages that are installed here. With TEST_CLONE set
(`scripts/test-clone`, which CI runs) everything is, in a clone that is installed as a user does it, with each Python.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.docs.blocks import RUN, read_blocks
from tests.docs.cloned import ROOT, VERSIONS, borrow, clone, find_python, install
from tests.docs.reader import Reader

IS_INSTALLED = "TEST_CLONE" in os.environ
START = "docs/guides/start.md"


@dataclass(frozen=True)
class Told:
    """What becomes of a document's blocks."""

    run: int
    """Blocks that are run."""
    slow: int = 0
    """Blocks that are run only where the clone was installed."""
    not_run: dict[str, int] = field(default_factory=dict[str, int])
    """Blocks that are never run here, by what they need."""


DOCUMENTS = {
    "README.md": Told(3, not_run={"minutes of a quiet machine": 1}),
    "docs/guides/batches.md": Told(2),
    "docs/guides/caching.md": Told(2),
    "docs/guides/clients.md": Told(1),
    "docs/guides/deploy.md": Told(
        0, not_run={"a PostgreSQL server": 1, "docker": 1, "docker and a Kubernetes cluster": 1}
    ),
    "docs/guides/files.md": Told(3),
    "docs/guides/keys.md": Told(6),
    "docs/guides/limits.md": Told(1),
    "docs/guides/routing.md": Told(10, not_run={"outcomes with prompts": 1, "a tier above haiku, and traffic": 1}),
    START: Told(5, slow=1, not_run={"models of your own, or the hub": 1}),
    "docs/guides/usage.md": Told(4, slow=1),
}

RUNNABLE = [name for name, told in DOCUMENTS.items() if told.run or told.slow]


@pytest.fixture(scope="module", params=VERSIONS if IS_INSTALLED else ("borrowed",))
def checkout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that is ready to run, one for all documents."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git, so it cannot be cloned")
    folder = clone(tmp_path_factory.mktemp("clone"))
    if not IS_INSTALLED:
        borrow(folder)
        return folder
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"there is no Python {request.param} here")
    install(folder, python)
    return folder


def test_every_document_is_pinned() -> None:
    documents = {"README.md", *(f"docs/guides/{file.name}" for file in (ROOT / "docs/guides").glob("*.md"))}
    assert documents == set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_becomes_of_every_block_is_pinned(name: str) -> None:
    blocks = [block for block in read_blocks(ROOT / name) if block.language in RUN and not block.file]
    marks = Counter(block.mark for block in blocks)
    needs = Counter(block.value for block in blocks if block.mark == "needs")
    assert Told(marks[""], marks["slow"], dict(needs)) == DOCUMENTS[name]


@pytest.mark.timeout(1200 if IS_INSTALLED else 240)
@pytest.mark.parametrize("name", RUNNABLE if IS_INSTALLED else ("README.md", START))
def test_what_a_document_prints_runs(checkout: Path, tmp_path: Path, name: str) -> None:
    with Reader(checkout, tmp_path / "home") as reader:
        if name not in ("README.md", START):  # a guide begins where the first hour has begun
            for block in [block for block in read_blocks(checkout / START) if block.language in RUN][:2]:
                reader.run(block)
        for block in read_blocks(checkout / name):
            if block.file:
                reader.save(block)
            elif block.mark == "needs" and block.language in RUN:
                print(f"{name}:{block.line} is not run: needs {block.value}")
            elif block.mark == "slow" and not IS_INSTALLED:
                print(f"{name}:{block.line} is run by scripts/test-clone alone: {block.value}")
            elif block.language in RUN:
                print(f"{name}:{block.line} is run")
                reader.run(block)
    subprocess.run(["git", "clean", "-fdq", "-e", ".venv", "-e", "data"], cwd=checkout, check=True)
