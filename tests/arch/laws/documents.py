"""Every document can be reached, and every link in one leads somewhere.

Owns: which files are indexes, what a link is, and what its target must be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.arch.laws.checkout import Checkout
from tests.arch.laws.citations import prose

INDEXES = ("README.md", "docs/README.md", "docs/decisions/README.md")
INDEXED = ("docs/guides/", "docs/concepts/", "docs/reference/", "docs/decisions/")

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)|^\[[^\]]+\]: +(\S+)", re.MULTILINE)


def links(checkout: Checkout, path: str) -> Iterator[tuple[int, str]]:
    """The relative links of a Markdown file, each with its line."""
    text = re.sub(r"`[^`\n]*`", lambda code: "-" * len(code[0]), prose(checkout.text(path)))
    for found in _LINK.finditer(text):
        target = found[1] or found[2]
        if not re.match(r"[a-z]+:|//", target):
            yield text.count("\n", 0, found.start()) + 1, target


def resolve(path: str, target: str) -> str:
    """The path below the checkout that a link of a document leads to; the document itself for a bare anchor."""
    inner = target.partition("#")[0]
    if not inner:
        return path
    parts = path.split("/")[:-1]
    for part in inner.split("/"):
        if part == "..":
            parts = parts[:-1] if parts else [".."]
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts)


def anchors(checkout: Checkout, path: str) -> set[str]:
    """The headings of a document as links name them; one that stands again gets a number."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(checkout.text(path)), flags=re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 0
        while (name := anchor if number == 0 else f"{anchor}-{number}") in found:
            number += 1
        found.add(name)
    return found


def find_dead_links(checkout: Checkout) -> list[str]:
    """Links to files or headings that are not there."""
    breaches: list[str] = []
    for path in checkout.files:
        if not path.endswith(".md"):
            continue
        for line, target in links(checkout, path):
            there = resolve(path, target)
            anchor = target.partition("#")[2]
            if not checkout.exists(there):
                breaches.append(f"{path}:{line}: the link to {target} leads nowhere: correct its path")
            elif anchor and there.endswith(".md") and anchor not in anchors(checkout, there):
                breaches.append(f"{path}:{line}: {target} has no such heading: correct the part behind the #")
    return breaches


def find_unlisted(checkout: Checkout) -> list[str]:
    """Documents that no index links to, so that nobody finds them."""
    indexes = [path for path in INDEXES if checkout.exists(path)]
    listed = {resolve(path, target) for path in indexes for _, target in links(checkout, path)}
    return [
        f"{path} is in no index: link it from one of {', '.join(INDEXES)}"
        for path in checkout.files
        if path.startswith(INDEXED) and path.endswith(".md") and path not in listed and path not in INDEXES
    ]
