"""Where each key of a TOML text stands, so that an error can name its line. `tomllib` does not tell.

Must never know: settings. Invariant: the text has been parsed by `tomllib` before, so only its layout matters here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*([.=\]])""")
_VALUE_TOKEN = re.compile(r"""\"{3}|'{3}|"(?:[^"\\]|\\.)*"|'[^']*'|#.*|[\[{]|[\]}]""")


def find_lines(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """The line of every table header and of every key that starts a line. `text` is known to be TOML."""
    table: tuple[str, ...] = ()
    quote, depth = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        rest = line
        if not quote and depth == 0:
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            if stripped.startswith("["):
                table, _ = _parse_key(stripped.lstrip("["))
                yield table, number
                continue
            keys, rest = _parse_key(line)
            yield table + keys, number
        quote, depth = _scan_value(rest, quote, depth)


def _parse_key(text: str) -> tuple[tuple[str, ...], str]:
    """`a."b".c = rest` -> (("a", "b", "c"), " rest")."""
    parts: list[str] = []
    end = 0
    while found := _KEY.match(text, end):
        parts.append(next(group for group in found.groups()[:3] if group is not None))
        end = found.end()
        if found[4] != ".":
            break
    return tuple(parts), text[end:]


def _scan_value(text: str, quote: str, depth: int) -> tuple[str, int]:
    """Whether a line ends inside a multi-line string (its quote) and inside how many brackets."""
    position = 0
    while position < len(text):
        if quote:
            end = text.find(quote, position)
            if end < 0:
                return quote, depth
            position, quote = end + 3, ""
            continue
        found = _VALUE_TOKEN.search(text, position)
        if found is None:
            break
        token, position = found[0], found.end()
        if token in ('"""', "'''"):
            quote = token
        elif token in ("[", "{"):
            depth += 1
        elif token in ("]", "}"):
            depth -= 1
    return quote, depth
