"""SQLite keeps every promise of the store, and some of its own."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from renga.errors import ConfigError
from renga.store.database import open_database
from renga.store.errors import DatabaseAway, DatabaseFailed
from renga.testing.suites.store_suite import StoreSuite, make_row


class TestSqlite(StoreSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'renga.db'}"


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with open_database(f"sqlite:///{folder / 'renga.db'}") as database:
        database.ledger.write_rows([make_row("req_1")])
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert files == {"renga.db": 0o600, "renga.db-wal": 0o600, "renga.db-shm": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    file = tmp_path / "renga.db"
    with open_database(f"sqlite:///{file}") as database:
        database.ledger.write_rows([make_row("req_1")])
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert len(database.ledger.read_rows()) == 1
        other.execute("ROLLBACK")
        other.close()


def test_a_lock_that_lasts_is_a_database_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("renga.store.database._BUSY_TIMEOUT_S", 0.05)
    file = tmp_path / "renga.db"
    with open_database(f"sqlite:///{file}") as database:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseAway, match="locked"):
            database.ledger.write_rows([make_row("req_1")])
        other.execute("ROLLBACK")
        other.close()
        database.ledger.write_rows([make_row("req_1")])
        assert len(database.ledger.read_rows()) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseFailed, match=str(tmp_path / "file")) as caught:
        open_database(f"sqlite:///{tmp_path / 'file' / 'renga.db'}")
    assert "RENGA_STORE_DATA_DIR" in caught.value.sentence()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "renga.db").write_text("This is not a database, and long enough to be taken for one. " * 20)
    with pytest.raises(DatabaseFailed, match="not a database"):
        open_database(f"sqlite:///{tmp_path / 'renga.db'}")


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_database(url)
