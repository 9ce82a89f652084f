"""The sizes that DESIGN sets: a file, a function, a script, the number of direct dependencies."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
CONSTRUCTOR_ARGUMENTS_MAX = 6
SCRIPT_LINES_MAX = 15
DIRECT_DEPENDENCIES_MAX = 25

SOURCES = [*sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "training").rglob("*.py"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"
            if node.name == "__init__":
                arguments = len(node.args.args) + len(node.args.kwonlyargs) - 1
                assert arguments <= CONSTRUCTOR_ARGUMENTS_MAX, f"a constructor takes {arguments} arguments"


def test_scripts_are_short() -> None:
    for path in (ROOT / "scripts").iterdir():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= SCRIPT_LINES_MAX, path.name


def test_direct_dependencies_are_few_and_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {normalize(re.split(r"[<>=;\\[ ]", requirement)[0]) for requirement in project["dependencies"]}
    assert len(names) <= DIRECT_DEPENDENCIES_MAX
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert names <= {normalize(line.partition("==")[0]) for line in lines}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "pins only, and no addresses"


def normalize(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_only_one_file_speaks_http_to_upstreams() -> None:
    importers = {
        str(path.relative_to(ROOT / "src" / "renga"))
        for path in (ROOT / "src").rglob("*.py")
        if "import httptools" in path.read_text(encoding="utf-8")
    }
    # The protocol reads the requests of clients.
    assert importers <= {
        "models/providers/transport/upstream_connection.py",
        "testing/http_client.py",
        "http/server/h1_protocol.py",
    }
