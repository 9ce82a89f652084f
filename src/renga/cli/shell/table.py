"""Prints tables, lists of values and JSON on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct

_PIPE_WIDTH = 240
"""Columns where stdout is no terminal: wide enough that nothing is cut."""


class Column(Struct, frozen=True):
    """A column of a table, and whether it holds numbers."""

    name: str
    is_number: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], footer: Sequence[str] | None = None) -> None:
    """Print rows under headings; numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    table = Table(box=None, pad_edge=False, show_footer=footer is not None, header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(
            column.name,
            footer=footer[position] if footer else "",
            justify="right" if column.is_number else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_lines(lines: Sequence[tuple[str, str]]) -> None:
    """Print names and values, the values under each other."""
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
