"""What a docstring must be: there, where something is public, and a sentence that a stranger understands.

Owns: which definitions are public, and how short a docstring may be.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from tests.arch.laws.checkout import SOURCE, Checkout, Module

WORDS_MIN = 6
"""Fewer words than these are a riddle, or repeat the name."""

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Documented:
    """One definition of a module and what its docstring says."""

    place: str
    """Path, line and dotted name inside the file."""
    kind: str
    """`module`, `class`, `function` (of a module) or `method`."""
    public: bool
    text: str | None


def definitions(module: Module) -> Iterator[Documented]:
    """The module itself and all that is defined in it, at any depth."""
    yield Documented(f"{module.path}:1: the module", "module", True, ast.get_docstring(module.tree))
    yield from _below(module, module.tree, "", inside="module", public=True)


def _below(module: Module, node: ast.AST, prefix: str, *, inside: str, public: bool) -> Iterator[Documented]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kind = "class" if isinstance(child, ast.ClassDef) else ("method" if inside == "class" else "function")
            seen = public and inside != "function" and not child.name.startswith("_")
            name = prefix + child.name
            yield Documented(f"{module.path}:{child.lineno}: {name}", kind, seen, ast.get_docstring(child))
            inner = "class" if kind == "class" else "function"
            yield from _below(module, child, name + ".", inside=inner, public=seen)
        elif not isinstance(child, ast.expr):
            yield from _below(module, child, prefix, inside=inside, public=public)


def attribute_notes(module: Module) -> Iterator[str]:
    """The strings that stand behind an assignment and say what it holds."""
    for node in module.nodes:
        body: object = getattr(node, "body", None)
        if isinstance(body, list):
            for before, after in itertools.pairwise(cast("list[ast.AST]", body)):
                if isinstance(before, ast.Assign | ast.AnnAssign) and (text := constant_text(after)) is not None:
                    yield text


def constant_text(node: ast.AST) -> str | None:
    """The text of a statement that is nothing but a string."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def is_short(text: str) -> bool:
    """Whether a docstring has too few words to tell a stranger anything."""
    return len(text.split()) < WORDS_MIN


def find_short(checkout: Checkout) -> list[str]:
    """Docstrings of the package that are no sentence."""
    return [
        f'{each.place}: "{each.text}" has fewer than {WORDS_MIN} words: say what a stranger needs, or leave it out '
        "where the name says all and nothing asks for one"
        for module in checkout.modules(SOURCE)
        for each in definitions(module)
        if each.text is not None and is_short(each.text)
    ]


def find_missing(checkout: Checkout) -> list[str]:
    """Modules, public classes and public functions of the package without a docstring.

    Methods may go without: many of them fulfil a protocol that is described once, where it is defined.
    """
    return [
        f"{each.place} is public and has no docstring: say in a sentence what it does"
        for module in checkout.modules(SOURCE)
        if module.text.strip()
        for each in definitions(module)
        if each.text is None and each.public and each.kind != "method"
    ]
