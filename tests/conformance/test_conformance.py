"""The quick part of `scripts/conformance`, for machines where its environments are already made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from renga.engine.models import HOKKU_PACKAGE

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
@pytest.mark.skipif(not (ROOT / ".venv-conformance").exists(), reason="scripts/conformance has not been run here")
@pytest.mark.skipif(not HOKKU_PACKAGE.exists(), reason="no hokku here")
def test_tool_loops_with_every_sdk_line() -> None:
    program = Path(__file__).with_name("run.py")
    done = subprocess.run(
        [sys.executable, program, "--fast", "--installed-only"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode == 2:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
