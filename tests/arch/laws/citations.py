"""What our own text cites is there: files, modules, headings, decisions.

Owns: where text of our own stands (Markdown, docstrings, comments), what in it is a citation, and what it leads to.
Texts that tell of what was (`HISTORY`) may name what is gone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from tests.arch.laws.checkout import CODE, SOURCE, Checkout
from tests.arch.laws.docstrings import constant_text

HISTORY = ("CHANGELOG.md", "docs/log.md", "docs/log/")
"""Records with a date; whoever reads them knows that names have changed since."""

ROOTS = ("", "src/", SOURCE, "docs/")
"""Where a cited path may begin, beside the folder of the file that cites it."""

ELSEWHERE = {
    "_state.py": "a module of h11",
    "resources/files.py": "a module of the Anthropic SDK",
    "tests/api_resources": "tests of the Anthropic SDK",
}
"""Files of other projects that are cited with the project's name beside them."""

PLACEHOLDERS = re.compile(r"NNNN|NAME|\*|\bx\.")
ABSENT = re.compile("messages-api" + r"\s+notes|\bDES" + r"IGN\b")
"""Documents that no clone holds."""
BESIDE = re.compile(r"\.\./" + r"shared\b")
DEFAULT = "RENGA_" + "SHARED"
"""What lies beside a checkout may be named only in the line that names the setting which says where it lies."""

_PATH = re.compile(r"(?<![\w./~$<>{}*@-])((?:[\w.-]+/)+[\w.*-]*\w\.(?:py|md|lua|sh))(?![\w/*{<])")
_FOLDER_OR_FILE = re.compile(r"`((?:[\w.*-]+/)+[\w.*-]*)`")
_BARE_FILE = re.compile(r"`([\w-]+\.(?:py|md))`")
_MODULE = re.compile(r"(?<![\w./-])renga((?:\.[A-Za-z_]\w*)+)")
_MODULE_IN_PROSE = re.compile(r"(?<![\w./-])renga((?:\.[A-Za-z_]\w*){2,})")
"""In documents one dot may also be a field of an answer."""
_HEADING = re.compile(r'\b((?:docs/)[\w./-]+\.md|[A-Z]+\.md), ("[^"]+"(?:(?:, | and |, and )"[^"]+")*)')
_DECISION = re.compile(r"\b[Dd]ecisions? (\d{4})\b")
_ADDRESS = re.compile(r"\b[a-z]+://[^\s)>\"']+")
_SAVED = re.compile(r"[Ss]ave (?:this|it|them) as `([^`]+)`")
"""Files that a guide tells its reader to write."""
_COMMENT = re.compile(r"^[ \t]*#+ ?(.*)$|  # (.*)$", re.MULTILINE)
_SUFFIXES = frozenset(["toml", "db", "log", "md", "py", "json", "jsonl", "txt", "yaml", "service"])
"""`renga.toml` is a file and no module."""

Text = tuple[str, int, str]
"""Path, line and text of something that a person wrote for a person."""


@lru_cache(maxsize=4)
def texts(checkout: Checkout) -> tuple[Text, ...]:
    """Markdown without its fenced blocks, docstrings and comments of Python, comments of everything else."""
    return tuple(_texts(checkout))


def _texts(checkout: Checkout) -> Iterator[Text]:
    for module in checkout.modules(*CODE):
        for node in module.nodes:
            if isinstance(node, ast.Expr) and (text := constant_text(node)) is not None:
                yield module.path, node.lineno, text
        yield from comments(module.path, module.text)
    for path in checkout.files:
        if path.endswith(".md"):
            if not path.startswith(HISTORY):
                yield path, 1, prose(checkout.text(path))
        elif path.startswith(("scripts/", "deploy/", ".ci/", "examples/")) or path.endswith((".toml", ".yml", ".yaml")):
            yield from comments(path, checkout.text(path))


def prose(text: str) -> str:
    """Markdown with the lines of its fenced blocks left empty, so that line numbers stay."""
    return re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)


def comments(path: str, text: str) -> Iterator[Text]:
    """The comments of a file whose comments begin with `#`; those on lines that follow each other are one text."""
    first, last, joined = 0, -1, ""
    position = line = 0
    for found in _COMMENT.finditer(text):
        line += text.count("\n", position, found.start())
        position = found.start()
        words = found[1] if found[1] is not None else found[2]
        if line == last + 1 and found[1] is not None:
            joined += "\n" + words
        else:
            if joined:
                yield path, first, joined
            first, joined = line + 1, words
        last = line
    if joined:
        yield path, first, joined


def find_absent_files(checkout: Checkout) -> list[str]:
    """Files and folders that are cited and not there."""
    tops = {folder for folder in checkout.folders if "/" not in folder}
    tops |= {folder.removeprefix(SOURCE) for folder in checkout.folders if folder.startswith(SOURCE)}
    basenames = {path.rpartition("/")[2] for path in checkout.files}
    breaches: list[str] = []
    for path, line, text in texts(checkout):
        text = _ADDRESS.sub(_blank, text)
        cited = [(found.start(), found[1]) for found in _PATH.finditer(text)]
        cited += [
            (found.start(), found[1]) for found in _FOLDER_OR_FILE.finditer(text) if found[1].partition("/")[0] in tops
        ]
        made = {*ELSEWHERE, *_SAVED.findall(text)}
        for position, name in dict.fromkeys(cited):
            if name not in made and not PLACEHOLDERS.search(name) and not _leads_somewhere(checkout, path, name):
                breaches.append(_absent(path, line, text, position, name))
        for found in _BARE_FILE.finditer(text):
            if found[1] not in basenames | made and not PLACEHOLDERS.search(found[1]):
                breaches.append(_absent(path, line, text, found.start(), found[1]))
    return list(dict.fromkeys(breaches))


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _absent(path: str, line: int, text: str, position: int, name: str) -> str:
    place = line + text.count("\n", 0, position)
    return f"{path}:{place}: {name} is not there: name the file as it is called now, or leave it out"


def _leads_somewhere(checkout: Checkout, path: str, name: str) -> bool:
    here = path.rpartition("/")[0] + "/"
    return any(checkout.exists(_normal(root + name)) for root in (*ROOTS, here))


def _normal(path: str) -> str:
    """A path without `.` and `..`; one that leaves the checkout stays as it is."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts)


def find_absent_modules(checkout: Checkout) -> list[str]:
    """Dotted names of our own modules that are cited and not there."""
    breaches: list[str] = []
    for path, line, text in texts(checkout):
        text = _ADDRESS.sub(_blank, text)
        for found in (_MODULE_IN_PROSE if path.endswith(".md") else _MODULE).finditer(text):
            parts = found[1].strip(".").split(".")
            if parts[0] not in _SUFFIXES and not _is_module(checkout, parts):
                breaches.append(_absent(path, line, text, found.start(), found[0]))
    return list(dict.fromkeys(breaches))


def _is_module(checkout: Checkout, parts: list[str]) -> bool:
    """Whether a dotted name is a module, or something that a module defines or exports."""
    folder = SOURCE
    for index, part in enumerate(parts):
        if checkout.exists(folder + part):
            folder += part + "/"
            continue
        inside = f"{folder}{part}.py"
        if checkout.exists(inside):
            return all(word in checkout.text(inside) for word in parts[index + 1 :])
        package = folder + "__init__.py"
        return checkout.exists(package) and re.search(rf"\b{part}\b", checkout.text(package)) is not None
    return True


def find_absent_headings(checkout: Checkout) -> list[str]:
    """Headings and decisions that are cited and not there."""
    breaches: list[str] = []
    decisions = {path.rpartition("/")[2][:4] for path in checkout.files if path.startswith("docs/decisions/")}
    for path, line, text in texts(checkout):
        place = partial(_absent, path, line, text)
        flat = " ".join(text.split())  # a citation may go over the end of a line
        for found in _HEADING.finditer(flat):
            headings = read_headings(checkout, found[1])
            for heading in re.findall(r'"([^"]+)"', found[2]):
                if heading.rstrip(".,") not in headings:
                    breaches.append(place(0, f'the heading "{heading}" of {found[1]}'))
        for found in _DECISION.finditer(flat):
            if found[1] not in decisions:
                breaches.append(place(0, f"decision {found[1]}"))
    return breaches


def read_headings(checkout: Checkout, path: str) -> set[str]:
    """The headings of a Markdown file, as they are written and without the code marks in them."""
    if not checkout.exists(path):
        return set()
    found = re.findall(r"^#+ +(.+?) *#*$", prose(checkout.text(path)), flags=re.MULTILINE)
    return {heading for each in found for heading in (each, each.replace("`", ""))}


def find_absent_documents(checkout: Checkout) -> list[str]:
    """Mentions of documents that only the project's founders had, and of folders beside the checkout."""
    breaches: list[str] = []
    for path in checkout.files:
        if path.startswith(HISTORY):
            continue
        lines = checkout.text(path).splitlines()
        for number, line in enumerate(lines, 1):
            pair = line + "\n" + (lines[number].lstrip(" #") if number < len(lines) else "")
            found = ABSENT.search(pair)
            if found is not None and found.start() <= len(line):
                words = " ".join(found[0].split())
                breaches.append(f"{path}:{number}: no clone holds {words!r}: cite docs/reference or ARCHITECTURE.md")
            if BESIDE.search(line) and DEFAULT not in line:
                breaches.append(f"{path}:{number}: what lies beside a checkout is no part of it: name {DEFAULT}")
    return breaches


CITATION_LAWS: tuple[Callable[[Checkout], list[str]], ...] = (
    find_absent_files,
    find_absent_modules,
    find_absent_headings,
    find_absent_documents,
)
