"""How long a file, a function and a constructor's list of arguments may be, and how much a folder may hold.

Owns: those limits and who breaks them. A limit is a place where a reader stops being able to see the whole.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.arch.laws.checkout import CODE, SOURCE, Checkout, Module

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
CONSTRUCTOR_ARGUMENTS_MAX = 6
SCRIPT_LINES_MAX = 15
ROOM_ENTRIES_MAX = 14
TOP_ENTRIES_MAX = 20

UNLIMITED_ROOMS = ("migrations/versions",)
"""Folders that grow by one file a change of the schema and are never read as a whole."""


def functions(module: Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Every function and method of a file with its lines, decorators not counted."""
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1


def find_long(module: Module) -> Iterator[str]:
    """What of one file is longer than it may be."""
    if len(module.lines) > FILE_LINES_MAX:
        yield f"{module.path} has {len(module.lines)} lines, {FILE_LINES_MAX} at most: split it by what its parts own"
    for node, lines in functions(module):
        place = f"{module.path}:{node.lineno}: {node.name}"
        if lines > FUNCTION_LINES_MAX:
            yield f"{place} has {lines} lines, {FUNCTION_LINES_MAX} at most: name its steps as functions"
        arguments = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs) - 1
        if node.name == "__init__" and arguments > CONSTRUCTOR_ARGUMENTS_MAX:
            yield f"{place} takes {arguments} arguments, {CONSTRUCTOR_ARGUMENTS_MAX} at most: pass a struct"


def find_all_long(checkout: Checkout) -> list[str]:
    """What is too long in any Python file of the checkout."""
    return [breach for module in checkout.modules() for breach in find_long(module)]


def find_long_scripts(checkout: Checkout) -> list[str]:
    """Scripts that hold more than a few calls."""
    counted = {path: len(checkout.text(path).splitlines()) for path in checkout.files if path.startswith("scripts/")}
    return [
        f"{path} has {lines} lines, {SCRIPT_LINES_MAX} at most: put the program into Python that the script starts"
        for path, lines in counted.items()
        if lines > SCRIPT_LINES_MAX
    ]


def count_rooms(checkout: Checkout) -> dict[str, int]:
    """The entries of every folder that holds code: its files and folders, without `__init__.py`."""
    entries: defaultdict[str, set[str]] = defaultdict(set)
    for path in checkout.files:
        if not path.startswith(CODE):
            continue
        top = next(folder for folder in CODE if path.startswith(folder)).rstrip("/")
        inner = path
        while inner != top:
            folder, _, name = inner.rpartition("/")
            entries[folder].add(name)
            inner = folder
    return {
        folder: len(names - {"__init__.py"})
        for folder, names in entries.items()
        if folder.startswith(tuple(part.rstrip("/") for part in CODE)) and not folder.endswith(UNLIMITED_ROOMS)
    }


def find_full_rooms(checkout: Checkout) -> list[str]:
    """Folders with more entries than a reader takes in at a glance."""
    breaches: list[str] = []
    for folder, count in sorted(count_rooms(checkout).items()):
        limit = TOP_ENTRIES_MAX if folder in (SOURCE.rstrip("/"), "tests") else ROOM_ENTRIES_MAX
        if count > limit:
            breaches.append(f"{folder}/ has {count} entries, {limit} at most: give a part of it a folder of its own")
    return breaches
