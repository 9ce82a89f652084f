"""The fenced blocks of a document, with what a comment before one says about it.

A block may follow a comment: `<!-- needs: docker -->` (never run here, for that reason), `<!-- slow: reason -->` (run
only where the clone was really installed) or `<!-- file: renga.toml -->` (a reader saves it under that name).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>needs|slow|file): (?P<value>.+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
RUN = ("sh", "console", "python")
"""Languages whose blocks a reader runs."""
SHOWN = ("toml", "jsonl", "json", "text")
"""Languages of what a reader looks at or saves."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    mark: str = ""
    value: str = ""

    @property
    def file(self) -> str:
        """The name that it is saved under; empty where it is not saved."""
        return self.value if self.mark == "file" else ""


def read_blocks(document: Path) -> list[Block]:
    """Every fenced block, in order.

    Raises: ValueError for a language that is neither run nor shown, so that no block is overlooked.
    """
    text = document.read_text(encoding="utf-8")
    blocks: list[Block] = []
    for found in _BLOCK.finditer(text):
        line = text[: found.start("text")].count("\n")
        if found["language"] not in RUN + SHOWN:
            raise ValueError(f"{document.name}:{line}: nobody knows what to do with a block of {found['language']}")
        blocks.append(Block(found["language"], found["text"], line, found["mark"] or "", found["value"] or ""))
    fences = len(re.findall(r"^```", text, re.MULTILINE))
    if fences != 2 * len(blocks):
        raise ValueError(f"{document.name}: {fences} fences, and {len(blocks)} blocks with a language")
    return blocks


def read_console(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it should print."""
    parts = re.split(r"^\$ (.+)\n", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def promises(block: Block) -> list[str]:
    """What a Python block says in comments that its calls of `print` print."""
    found = re.findall(r"^\s*print\(.*\)  # (.+)$", block.text, flags=re.MULTILINE)
    return [part for line in found for part in line.split(", ")] if block.language == "python" else []
