"""Outcomes in SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from renga.testing.suites.outcome_suite import OutcomeSuite


class TestSqlite(OutcomeSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'renga.db'}"
