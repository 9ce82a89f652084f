"""One thing has one name: classes, and the basenames of modules.

Owns: where a name may stand twice. A basename may, where the folders make plain that it is one thing seen from
several layers (keys in the domain, in a table, on the wire), or one role that several siblings play (what decodes
requests, once for each protocol).
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.arch.laws.checkout import SOURCE, Checkout


@dataclass(frozen=True)
class Layered:
    """Names of things, each of which may have one module in each layer."""

    names: str
    """Basenames without their ending, separated by white space."""
    layers: tuple[str, ...]
    """Folders below `src/renga`, as patterns; "." is the top, a star matches within one folder's name only, and a bar
    stands between patterns of the same layer."""

    def covers(self, name: str, folders: Iterable[str]) -> set[str]:
        """Those of the folders in which the name is that of a layer; of two in the same layer, neither is."""
        if name not in self.names.split():
            return set()
        by_layer = [[folder for folder in folders if _is_in(folder, layer)] for layer in self.layers]
        return {found[0] for found in by_layer if len(found) == 1}


@dataclass(frozen=True)
class Siblings:
    """Names of roles, each of which may have one module in each folder directly below a parent."""

    names: str
    parents: tuple[str, ...]

    def covers(self, name: str, folders: Iterable[str]) -> set[str]:
        """Those of the folders that are directly below a parent in which this role is played."""
        if name not in self.names.split():
            return set()
        return {folder for folder in folders if any(_is_in(folder, f"{parent}/*") for parent in self.parents)}


RESOURCES = """
admin agents audit batches cache canaries collections discounts evals feedback files health keys ledger limits metrics
models outcomes prices projects prompts reports routing routing_report settings spending tasks usage workspaces
"""
"""Things that several layers have a part of."""

LAYERS = (
    "domain",
    "config",
    "metrics",
    "store/tables",
    "protocols/resources",
    "files|accounting|accounting/*|routing|routing/*",
    "services|services/*",
    "http|http/*",
    "cli|cli/*",
    "testing|testing/*",
)

CODEC_ROLES = "decode encode errors fields fold models order render request response sse stream surface"
PROVIDER_ROLES = "capabilities errors models prompt provider relay request response stream"
"""Parts that every protocol, and every kind of provider, has of its own."""

REPEATED = (
    Layered(RESOURCES, LAYERS),
    Layered("errors", (".", "store|store/*", "http|http/*")),
    Layered("clock", (".", "testing")),
    Siblings(CODEC_ROLES, ("protocols",)),
    Siblings(PROVIDER_ROLES, ("models/providers",)),
    Siblings("routes surface", ("http",)),
    Siblings("monitor runner scheduler service", ("services",)),
)
"""Every basename that may stand more than once, and where."""

REPEATED_PRIVATE_CLASSES: frozenset[str] = frozenset()
"""Private classes that may be defined more than once; empty, and best left so."""


def group_basenames(checkout: Checkout) -> dict[str, list[str]]:
    """The folders, below `src/renga`, of every basename of a module that stands more than once."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for module in checkout.modules(SOURCE):
        folder, _, name = module.path.removeprefix(SOURCE).rpartition("/")
        if name not in ("__init__.py", "__main__.py") and not folder.endswith("migrations/versions"):
            folders[name.removesuffix(".py")].append(folder or ".")
    return {name: places for name, places in sorted(folders.items()) if len(places) > 1}


def find_repeated_basenames(checkout: Checkout, rules: tuple[Layered | Siblings, ...] = REPEATED) -> list[str]:
    """Basenames that stand more than once although their folders do not make plain what each is."""
    breaches: list[str] = []
    for name, folders in group_basenames(checkout).items():
        covered: set[str] = {folder for rule in rules for folder in rule.covers(name, folders)}
        plain = [folder for folder in folders if folder not in covered]
        if plain:
            every = ", ".join(f"{folder}/{name}.py" for folder in folders)
            breaches.append(
                f"{name}.py stands {len(folders)} times ({every}); not one thing in several layers in "
                f"{', '.join(plain)}: rename it by what it owns, or add the layer to tests/arch/laws/names.py"
            )
    return breaches


def group_classes(checkout: Checkout, *folders: str) -> dict[str, list[str]]:
    """The places of every class name that is defined more than once."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module in checkout.modules(*folders):
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{module.path}:{node.lineno}")
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def find_repeated_classes(checkout: Checkout, allowed: frozenset[str] = REPEATED_PRIVATE_CLASSES) -> list[str]:
    """Classes of the package that share a name; only private ones can be allowed to."""
    return [
        f"class {name} is defined {len(places)} times ({', '.join(places)}): name each by what it alone is"
        for name, places in group_classes(checkout, SOURCE).items()
        if not (name.startswith("_") and name in allowed)
    ]


def count_definitions(checkout: Checkout, *folders: str) -> Counter[str]:
    """How often a function or method of each name is defined; names with two underscores in front are left out."""
    return Counter(
        node.name
        for module in checkout.modules(*folders)
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__")
    )


def _is_in(folder: str, layer: str) -> bool:
    """Whether a folder is of one of the patterns of a layer, compared part by part."""
    parts = folder.split("/")
    return any(
        len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
        for wanted in (pattern.split("/") for pattern in layer.split("|"))
    )
