"""Every example runs against a fresh server with hokku, and prints what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from renga.testing.servers.served import Served, ServedSettings, served

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "batch.py": ["message-0 card_arrival", "message-1 lost_or_stolen_card", "message-2 exchange_rate"],
    "errors.py": ["401 authentication_error", "404 not_found_error", "400 invalid_request_error: max_tokens", "[req_"],
    "explain.py": ["renga-target       local/hokku", "renga-plan         policy:auto;", "renga-cost-usd     0"],
    "stream.py": ["Order 4711 is on its way with DHL and should be with you on 24 November.", "end_turn"],
    "structured.py": ["{'artist': 'Clem Burke', 'playlist': 'Party Jams'}", "Miles Davis"],
    "tools.py": ["order_status({'order': '4711'}) -> 'order: 4711", "DHL", "24 November."],
}
"""What each prints, in part: what is up to hokku's wit is not among it."""


@pytest.fixture(scope="module")
def server() -> Generator[Served]:
    with served(ServedSettings()) as running:
        yield running


def test_no_example_is_forgotten() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(PRINTED)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in listed for name in PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_runs(server: Served, name: str) -> None:
    environ = {"PATH": "/usr/bin:/bin", "RENGA_URL": server.url, "RENGA_KEY": server.secret}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], env=environ, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    for part in PRINTED[name]:
        assert part in done.stdout, done.stdout
