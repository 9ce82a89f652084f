"""Who imports whom inside the package, and where that goes in a circle or upward.

Owns: the graph of imports between the modules of `src/renga`, its cycles, and the order that pyproject.toml sets.
Imports inside functions and those for type checkers count like any other: a reader follows them all the same.
An import of a submodule is an edge to that submodule alone, and not to the packages above it.
"""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from tests.arch.laws.checkout import SOURCE, Checkout, Module

Graph = dict[str, dict[str, str]]
"""For each node the nodes that it imports, each with the place of its first import as `path:line`."""


def read_imports(checkout: Checkout) -> Graph:
    """The graph of all modules of the package by their dotted names."""
    modules = {module.name: module for module in checkout.modules(SOURCE)}
    graph: Graph = {name: {} for name in modules}
    for name, module in modules.items():
        for target, line in _targets(module, modules):
            if target != name:
                graph[name].setdefault(target, f"{module.path}:{line}")
    return graph


def _targets(module: Module, modules: Mapping[str, Module]) -> Iterator[tuple[str, int]]:
    """The modules of the package that one module imports, with the line of each import."""
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in modules:
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if inner in modules:
                    yield inner, node.lineno
                elif base in modules:
                    yield base, node.lineno


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """The dotted name behind `from`, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    kept = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def project_children(graph: Graph, package: str) -> Graph:
    """The graph between the direct children of a package: its modules and subpackages, each with all that is in it."""
    prefix = package + "."
    children: Graph = {}
    for name, targets in graph.items():
        if not name.startswith(prefix):
            continue
        child = name[len(prefix) :].partition(".")[0]
        edges = children.setdefault(child, {})
        for target, place in targets.items():
            other = target[len(prefix) :].partition(".")[0] if target.startswith(prefix) else child
            if other != child:
                edges.setdefault(other, place)
    return children


def find_knots(graph: Graph) -> list[list[str]]:
    """The sets of nodes of which each reaches each other, two nodes at least (strongly connected components)."""
    reached = {node: _reach(graph, node) for node in graph}
    knots: list[list[str]] = []
    seen: set[str] = set()
    for node in sorted(graph):
        if node in reached[node] and node not in seen:
            knot = sorted(other for other in reached[node] if node in reached.get(other, ()))
            seen.update(knot)
            knots.append(knot)
    return knots


def _reach(graph: Graph, start: str) -> set[str]:
    """Every node that can be reached over at least one edge."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(graph.get(node, ()))
    return found


def shortest_cycle(graph: Graph, knot: Iterable[str]) -> list[str]:
    """The shortest way from a node of a knot back to itself; its first node stands again at its end."""
    inside = set(knot)
    best: list[str] = []
    for start in sorted(inside):
        before: dict[str, str] = {}
        waiting = deque([start])
        while waiting and start not in before:
            node = waiting.popleft()
            for target in sorted(graph[node]):
                if target in inside and target not in before:
                    before[target] = node
                    waiting.append(target)
        way = [start]
        while len(way) == 1 or way[-1] != start:
            way.append(before[way[-1]])
        if not best or len(way) < len(best):
            best = way[::-1]
    return best


def find_module_cycles(checkout: Checkout) -> list[str]:
    """One line for each knot of modules."""
    graph = read_imports(checkout)
    return [_describe("modules import each other", graph, knot) for knot in find_knots(graph)]


def find_package_cycles(checkout: Checkout) -> list[str]:
    """One line for each package whose direct children import each other in a circle."""
    graph = read_imports(checkout)
    found: list[str] = []
    for package in sorted(module.name for module in checkout.modules(SOURCE) if module.is_package):
        children = project_children(graph, package)
        found += [_describe(f"the children of {package}", children, knot) for knot in find_knots(children)]
    return found


def _describe(what: str, graph: Graph, knot: list[str]) -> str:
    way = shortest_cycle(graph, knot)
    places = ", ".join(graph[one][other] for one, other in itertools.pairwise(way))
    more = f"; {len(knot)} are in the knot" if len(knot) > len(way) - 1 else ""
    return f"{what}: {' > '.join(way)} ({places}{more}): move what both need below both of them"


def find_upward(checkout: Checkout) -> list[str]:
    """Imports from a layer into a higher one, or into a sibling, by the layers that pyproject.toml sets."""
    if not checkout.exists("pyproject.toml"):
        return []
    tool = tomllib.loads(checkout.text("pyproject.toml")).get("tool", {})
    contracts = tool.get("importlinter", {}).get("contracts", [])
    graph = read_imports(checkout)
    found: list[str] = []
    for contract in contracts:
        if contract.get("type") == "layers":
            for container in contract.get("containers", [""]):
                found += _find_upward_in(graph, container, contract["layers"])
    return found


def _find_upward_in(graph: Graph, container: str, layers: list[str]) -> list[str]:
    """What goes upward among the children of one container."""
    rank: dict[str, tuple[int, bool]] = {}
    for height, layer in enumerate(layers):
        for name in re.split(r"[|:]", layer):
            rank[name.strip(" ()")] = height, ":" in layer
    found: list[str] = []
    children = project_children(graph, container)
    for name, targets in children.items():
        for target, place in targets.items():
            if name in rank and target in rank:
                (above, lenient), (below, _) = rank[name], rank[target]
                if below < above or (below == above and not lenient):
                    found.append(f"{place}: {container}.{name} imports {container}.{target}, above or beside it")
    return found
