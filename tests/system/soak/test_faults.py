"""`benchmarks.faults` as a test: TEST_FAULT_ROUNDS says how many rounds; without it there is nothing to do here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from renga.testing.servers import postgresql, valkey

ROUNDS = int(os.environ.get("TEST_FAULT_ROUNDS", "0"))
ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(120 + 120 * ROUNDS)
@pytest.mark.skipif(not ROUNDS, reason="TEST_FAULT_ROUNDS is not set")
@pytest.mark.skipif(not postgresql.AVAILABLE or valkey.PROGRAM is None, reason="no PostgreSQL or no Valkey here")
def test_nothing_that_is_killed_loses_or_doubles_anything() -> None:
    command = [sys.executable, "-m", "benchmarks.faults", "--rounds", str(ROUNDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
