"""What the project depends on: few packages, each pinned, and one file that speaks HTTP to upstreams."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIRECT_DEPENDENCIES_MAX = 25


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
