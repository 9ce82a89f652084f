"""Every example runs against a fresh server with hokku, and prints what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from renga.testing.servers.served import ServedSettings, served

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "batch.py": ["message-0 card_arrival", "message-1 lost_or_stolen_card", "message-2 exchange_rate"],
    "errors.py": ["401 authentication_error", "404 not_found_error", "400 invalid_request_error: max_tokens", "[req_"],
    "explain.py": ["renga-target       local/hokku", "renga-plan         policy:auto;", "renga-cost-usd     0"],
    "stream.py": ["Order 4711 is on its way with DHL and should be with you on 24 November.", "end_turn"],
    "structured.py": ["{'artist': 'Clem Burke', 'playlist': 'Party Jams'}", "Miles Davis"],
    "tools.py": ["order_status({'order': '4711'}) -> 'order: 4711", "DHL", "24 November."],
}
"""What each prints, in part."""
RUNNER = """
import runpy, sys, traceback
for path in sys.argv[1:]:
    print("example", path, flush=True)
    try:
        runpy.run_path(path, run_name="__main__")
    except BaseException:
        traceback.print_exc(file=sys.stdout)
"""
"""Each as a program, and all in one process: the SDK takes longer to import than any of them to run."""


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each example printed, by its name."""
    with served(ServedSettings()) as server:
        environ = {"PATH": "/usr/bin:/bin", "RENGA_URL": server.url, "RENGA_KEY": server.secret}
        command = [sys.executable, "-c", RUNNER, *(str(EXAMPLES / name) for name in PRINTED)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=55, check=True)
    parts = done.stdout.split("example ")[1:]
    return {Path(part.partition("\n")[0]).name: part.partition("\n")[2] for part in parts}


def test_no_example_is_forgotten() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(PRINTED)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in listed for name in PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_runs(printed: dict[str, str], name: str) -> None:
    for part in PRINTED[name]:
        assert part in printed[name]
    assert "Traceback" not in printed[name]
