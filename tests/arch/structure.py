"""How a checkout is built, as one Markdown table: `python -m tests.arch.structure [CHECKOUT]`.

Owns: the figures by which a change of the structure is judged, each counted the same way in every checkout.
Must never know: what the laws forbid; it counts also where nothing is forbidden. Reads with git and ast alone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.arch.laws.checkout import CODE, SOURCE, Checkout
from tests.arch.laws.docstrings import Documented, attribute_notes, definitions, is_short
from tests.arch.laws.imports import find_knots, find_module_cycles, find_package_cycles, find_upward, read_imports
from tests.arch.laws.names import count_definitions, find_repeated_basenames, group_basenames, group_classes
from tests.arch.laws.sizes import (
    FUNCTION_LINES_MAX,
    ROOM_ENTRIES_MAX,
    TOP_ENTRIES_MAX,
    count_rooms,
    functions,
)

Row = tuple[str, str]
OFTEN = 5
"""From how many definitions on a name is said to repeat often."""
LISTED_MAX = 12
"""How many examples a cell names at the most, where the list itself is not the point."""


def measure(checkout: Checkout) -> list[Row]:
    """Every figure of a checkout, in the order of the table."""
    parts: tuple[Callable[[Checkout], Iterator[Row]], ...] = (
        _sizes,
        _rooms,
        _names,
        _docstrings,
        _imports,
        _duplicates,
    )
    return [row for part in parts for row in part(checkout)]


def _sizes(checkout: Checkout) -> Iterator[Row]:
    for folder in CODE:
        lengths = [len(module.lines) for module in checkout.modules(folder)]
        yield f"{folder}: Python files, lines", f"{len(lengths)}, {sum(lengths):,}"
    lengths = {module.path: len(module.lines) for module in checkout.modules(SOURCE)}
    longest = max(lengths, key=lambda path: lengths[path], default="")
    median = statistics.median(lengths.values()) if lengths else 0
    yield f"{SOURCE}: median, maximum lines of a file", f"{median:g}, {lengths.get(longest, 0)} ({longest})"
    for folder in CODE:
        long = [
            f"`{node.name}` {lines} ({module.path})"
            for module in checkout.modules(folder)
            for node, lines in functions(module)
            if lines > FUNCTION_LINES_MAX
        ]
        yield f"{folder}: functions over {FUNCTION_LINES_MAX} lines", _listed(long)


def _rooms(checkout: Checkout) -> Iterator[Row]:
    rooms = count_rooms(checkout)
    largest = max(rooms, key=lambda folder: rooms[folder], default="")
    over = {
        folder: count
        for folder, count in rooms.items()
        if count > (TOP_ENTRIES_MAX if folder == SOURCE.rstrip("/") else ROOM_ENTRIES_MAX)
    }
    named = [f"{folder} {count}" for folder, count in sorted(over.items(), key=lambda item: -item[1])]
    yield "folders with code", str(len(rooms))
    yield "largest folder, entries", f"{largest}, {rooms.get(largest, 0)}"
    yield f"entries at the top of {SOURCE}", str(rooms.get(SOURCE.rstrip("/"), 0))
    yield f"folders over {ROOM_ENTRIES_MAX} entries (top: {TOP_ENTRIES_MAX})", _listed(named, most=99)


def _names(checkout: Checkout) -> Iterator[Row]:
    classes = group_classes(checkout, SOURCE)
    named = [f"`{name}` {len(places)}" for name, places in _most_first(classes)]
    yield f"{SOURCE}: class names defined more than once", _listed(named, most=99)
    everywhere = group_classes(checkout, *CODE)
    yield "class names defined more than once, tests and training and benchmarks counted too", str(len(everywhere))
    basenames = group_basenames(checkout)
    named = [f"{name}.py {len(folders)}" for name, folders in _most_first(basenames)]
    yield f"{SOURCE}: basenames of modules that repeat", _listed(named, most=99)
    unruled = find_repeated_basenames(checkout)
    yield f"{SOURCE}: of these, such that their folders do not make plain what each is", str(len(unruled))
    often = [(name, count) for name, count in count_definitions(checkout, SOURCE).most_common() if count >= OFTEN]
    yield (
        f"{SOURCE}: names of functions and methods defined {OFTEN} times or more",
        _listed([f"`{name}` {count}" for name, count in often], most=20),
    )


def _docstrings(checkout: Checkout) -> Iterator[Row]:
    found: list[Documented] = []
    notes: list[str] = []
    for module in checkout.modules(SOURCE):
        found += definitions(module)
        notes += attribute_notes(module)
    short = Counter(each.kind for each in found if each.text is not None and is_short(each.text))
    missing = Counter(each.kind for each in found if each.text is None and each.public)
    public = sum(each.public for each in found)
    of_functions = short["function"] + short["method"]
    yield (
        f"{SOURCE}: docstrings under six words",
        f"{sum(short.values())}: functions and methods {of_functions}, "
        f"classes {short['class']}, modules {short['module']}",
    )
    yield f"{SOURCE}: notes on attributes under six words", f"{sum(map(is_short, notes))} of {len(notes)}"
    yield (
        f"{SOURCE}: public definitions without docstring",
        f"{sum(missing.values())} of {public}: "
        + ", ".join(f"{kind} {missing[kind]}" for kind in ("module", "class", "function", "method")),
    )


def _imports(checkout: Checkout) -> Iterator[Row]:
    knots = find_knots(read_imports(checkout))
    yield (
        "knots of modules that import each other (typing and local imports count), modules in them",
        f"{len(knots)}, {sum(map(len, knots))}" + _lines(find_module_cycles(checkout)),
    )
    packages = find_package_cycles(checkout)
    yield "knots among the direct children of a package", str(len(packages)) + _lines(packages)
    upward = find_upward(checkout)
    yield "imports upward, by the layers in pyproject.toml", str(len(upward)) + _lines(upward)
    yield "imports of the store's package from outside of it", str(_imports_of_store(checkout))


def _imports_of_store(checkout: Checkout) -> int:
    """How many modules outside of the room of SQL import something in it."""
    graph = read_imports(checkout)
    return sum(
        any(target.startswith("renga.store") for target in targets)
        for name, targets in graph.items()
        if not name.startswith(("renga.store", "renga.testing"))
    )


def _duplicates(checkout: Checkout) -> Iterator[Row]:
    program = shutil.which("duplicates")
    if program is None:
        return
    for folder in (SOURCE, "."):
        command = [program, "--repo", str(checkout.root / folder), "--most", "200", "--seconds", "120"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        pairs = [line for line in lines if re.match(r"D\d+ ", line)]
        same = sum("shape" not in line for line in pairs)
        boilerplate = sum("boilerplate" in line for line in pairs)
        cut = next((int(found[1]) for line in lines if (found := re.match(r"\(\+(\d+) more pairs", line))), 0)
        where = "whole tree" if folder == "." else folder
        yield (
            f"{where}: pairs of places that share six lines (`duplicates`)",
            f"{len(pairs) + cut}; of the {len(pairs)} first, to the letter {same}, "
            f"of the same shape {len(pairs) - same - boilerplate}, boilerplate {boilerplate}"
            + "".join(f"; {line}" for line in lines if line.startswith("incomplete")),
        )


def _most_first(groups: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    return sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))


def _listed(examples: list[str], most: int = LISTED_MAX) -> str:
    """How many there are, and the first of them."""
    shown = ", ".join(examples[:most]) + (" ..." if len(examples) > most else "")
    return f"{len(examples)}" + (f": {shown}" if shown else "")


def _lines(breaches: list[str]) -> str:
    return "".join(f"<br>{line}" for line in breaches[:LISTED_MAX]) + ("<br>..." if len(breaches) > LISTED_MAX else "")


def render(columns: dict[str, list[Row]]) -> str:
    """A Markdown table with one column for each checkout. Rows that only one of them has stay."""
    titles = list(columns)
    cells = {title: dict(rows) for title, rows in columns.items()}
    labels = list(dict.fromkeys(label for rows in columns.values() for label, _ in rows))
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for label in labels:
        values = (cells[title].get(label, "").replace("|", r"\|") for title in titles)
        lines.append(f"| {label} | {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table of one checkout, or those of two side by side."""
    parser = argparse.ArgumentParser(description="How a checkout is built, as a Markdown table.")
    parser.add_argument("checkout", nargs="?", type=Path, default=Path.cwd(), help="default: this folder")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help="two checkouts side by side")
    options = parser.parse_args()
    if options.compare:
        before, after = (measure(Checkout(path.resolve())) for path in options.compare)
        print(render({"before": before, "after": after}))
    else:
        print(render({options.checkout.resolve().name: measure(Checkout(options.checkout.resolve()))}))


if __name__ == "__main__":
    main()
