"""`renga doctor` on what is stored: how much there is, what waits, and whether it answers."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Shell

from renga.accounting.ledger.journal import Journal
from renga.domain.batches import BatchRow, BatchTerms, NewRequest
from renga.domain.files import FileQuota
from renga.store.database import open_database
from renga.testing.servers.valkey import PROGRAM, ValkeyServer
from renga.testing.suites.file_suite import make_file
from renga.testing.suites.store_suite import make_row

Found = dict[str, dict[str, str]]


def examine(shell: Shell, config: str = "") -> Found:
    """What it finds, the last of each subject."""
    shell.write_config(f"[engine]\nenabled = false\n{config}")
    shell.environ["RENGA_SERVER_PORT"] = "0"
    return {each["subject"]: each for each in msgspec.json.decode(shell.call("doctor", "--json", "--no-model").out)}


def folder_of(shell: Shell) -> Path:
    return shell.folder / "data" / "renga"


def test_what_is_kept_and_what_waits(shell: Shell) -> None:
    found = examine(shell)
    assert found["batches"]["detail"] == "none open"
    assert found["limits"]["detail"] == "each server counts for itself"
    assert found["database"]["detail"].startswith("SQLite answers")
    assert "GB free under" in found["disk"]["detail"]
    with open_database(f"sqlite:///{folder_of(shell) / 'renga.db'}") as database:
        table, now_us = database.batches, time.time_ns() // 1000
        table.create_batch(
            BatchRow("msgbatch_1", "key_a", None, now_us, now_us + 86_400_000_000, BatchTerms("2023-06-01"))
        )
        table.add_requests("msgbatch_1", [NewRequest(n, f"c{n}", b"", b"{}") for n in range(3)])
        table.seal_batch("msgbatch_1", 3, now_us)
        database.files.create_file(make_file(1), FileQuota(None, None), lambda: True)
        waiting = examine(shell)
        assert waiting["files"]["detail"] == "1 with 0.0 MB in the data folder"
        assert waiting["batches"]["level"] == "warn"
        assert waiting["batches"]["detail"].startswith("1 open, 3 requests to go; the first expires 20")
        assert waiting["batches"]["remedy"] == "renga serve"
        assert "batches.run = true" in examine(shell, "[batches]\nrun = false")["batches"]["remedy"]
        # Seen a minute from now, lest a slow machine takes it for dead.
        database.workers.record_heartbeat("worker-1", time.time_ns() // 1000 + 60_000_000)
        assert examine(shell)["batches"]["detail"].endswith("1 server at work")


def test_rows_of_a_server_that_was_killed_wait(shell: Shell) -> None:
    journal = Journal(folder_of(shell))
    journal.cut()
    journal.append(make_row("req_1"))
    assert "ledger" not in examine(shell), "a living server's are its own"
    (segment,) = folder_of(shell).glob("ledger.journal.*")
    left = segment.with_name("ledger.journal.left")
    left.write_bytes(segment.read_bytes())
    assert str(left) in examine(shell)["ledger"]["detail"]


def test_limits_that_are_shared_are_asked(shell: Shell) -> None:
    if PROGRAM is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with ValkeyServer() as count:
        config = f'[limits]\nshared_url = "{count.url}"\nshared_timeout_s = 10\n'
        assert f"shared through 127.0.0.1:{count.port}" in examine(shell, config)["limits"]["detail"]
        count.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        full = examine(shell, config)["limits"]
        assert (full["level"], full["remedy"]) == ("warn", "set maxmemory-policy noeviction")
        count.call("CONFIG", "SET", "requirepass", "secret")
        assert "password" in examine(shell, config)["limits"]["remedy"]
        count.kill()
        away = examine(shell, config)["limits"]
        assert (away["level"], "requests with limits are refused meanwhile" in away["detail"]) == ("fail", True)
