"""`benchmarks/faults.py` as a test: TEST_FAULT_ROUNDS says how many rounds; without it there is nothing to do here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from renga.testing.servers import postgresql, valkey

ROUNDS = int(os.environ.get("TEST_FAULT_ROUNDS", "0"))
PROGRAM = Path(__file__).parents[3] / "benchmarks" / "faults.py"


@pytest.mark.timeout(120 + 120 * ROUNDS)
@pytest.mark.skipif(not ROUNDS, reason="TEST_FAULT_ROUNDS is not set")
@pytest.mark.skipif(not postgresql.AVAILABLE or valkey.PROGRAM is None, reason="no PostgreSQL or no Valkey here")
def test_nothing_that_is_killed_loses_or_doubles_anything() -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, "--rounds", str(ROUNDS)], cwd=PROGRAM.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
