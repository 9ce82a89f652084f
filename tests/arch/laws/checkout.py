"""One checkout of the repository, read as text and syntax trees and never imported.

Owns: which files belong to a checkout, their text, and their syntax trees, each read once.
Must never know: any law.

Only the standard library is used, so that a report can be made of any checkout, installed or not.
"""

from __future__ import annotations

import ast
import gc
import subprocess
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

SOURCE = "src/renga/"
CODE = (SOURCE, "training/", "benchmarks/", "tests/")
"""Folders that hold Python of our own."""

_NEVER_READ = frozenset({".git", "__pycache__", ".venv", "node_modules"})
_TEXT_BYTES_MAX = 2_000_000


class Module:
    """One Python file: its path below the checkout, its text and its syntax tree."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.lines = text.splitlines()
        self.tree = ast.parse(text, path)
        self.nodes = list(ast.walk(self.tree))
        """Every node of the tree, walked once for all laws."""

    @property
    def name(self) -> str:
        """The dotted name under which the file is imported, for a file below `src/`."""
        parts = self.path.removeprefix("src/").removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def is_package(self) -> bool:
        """Whether the file is the `__init__` of a package."""
        return self.path.endswith("/__init__.py")


class Checkout:
    """The files of one checkout: those that git tracks, and those that it would track."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, str] = {}

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Paths below the root, sorted. Outside of git every file below it."""
        command = ["git", "-C", str(self.root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode == 0:
            listed = [name for name in done.stdout.split("\0") if name and (self.root / name).is_file()]
        else:
            every = (file.relative_to(self.root) for file in self.root.rglob("*") if file.is_file())
            listed = [file.as_posix() for file in every if not _NEVER_READ.intersection(file.parts)]
        return tuple(sorted(set(listed)))

    @cached_property
    def folders(self) -> frozenset[str]:
        """Every folder that holds a file, at whatever depth, without a slash at its end."""
        return frozenset(folder for file in self.files for folder in _parents(file))

    def exists(self, path: str) -> bool:
        """Whether a file or a folder of the checkout has this path."""
        return path in self._file_set or path.rstrip("/") in self.folders

    @cached_property
    def _file_set(self) -> frozenset[str]:
        return frozenset(self.files)

    def text(self, path: str) -> str:
        """The text of a file; empty for what is no text in UTF-8, or too large to have been written by hand."""
        if path not in self._texts:
            data = (self.root / path).read_bytes()
            try:
                self._texts[path] = "" if len(data) > _TEXT_BYTES_MAX or b"\0" in data else data.decode("utf-8")
            except UnicodeDecodeError:
                self._texts[path] = ""
        return self._texts[path]

    def modules(self, *folders: str) -> Iterator[Module]:
        """The Python files below these folders, each of which ends in a slash; without any, all that are ours."""
        return (module for module in self._modules if module.path.startswith(folders or CODE))

    @cached_property
    def _modules(self) -> tuple[Module, ...]:
        gc.disable()  # nothing in a tree is garbage, and looking for some takes longer than parsing
        try:
            paths = (path for path in self.files if path.endswith(".py") and path.startswith(CODE))
            return tuple(Module(path, self.text(path)) for path in paths)
        finally:
            gc.enable()


@lru_cache(maxsize=1)
def this_checkout() -> Checkout:
    """The checkout that this file is a part of."""
    return Checkout(Path(__file__).parents[3])


def _parents(file: str) -> Iterator[str]:
    """The folders above a file, from the innermost to the outermost."""
    folder = file.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
