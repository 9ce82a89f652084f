"""The table of files over SQLite; `test_postgresql.py` runs the same suite over PostgreSQL."""

from pathlib import Path

import pytest

from renga.testing.suites.file_suite import FileTableSuite


class TestSqlite(FileTableSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'renga.db'}"
