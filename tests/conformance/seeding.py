"""A plug-in for pytest in the SDK's environment: puts into the server's database what its tests ask for by fixed ids.

Owns: which rows a test finds. Must never know: Renga's code, which is not installed there.
Invariant: every test finds its rows as if no other had run before it, so that none needs an order.

The SDK's tests delete `file_id` and then read it; its authors run them against a mock that has everything.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing

import pytest

MICROSECONDS = 1_000_000
SEEDS: dict[str, tuple[str, ...]] = {
    "test_files.py": (
        "INSERT OR REPLACE INTO files (file_id, key_id, created_us, filename, mime_type, size_bytes, content_sha256, "
        "downloadable) VALUES ('file_id', :key_id, :now_us, 'seed.txt', 'text/plain', 4, zeroblob(32), false)",
    ),
    "test_batches.py": (
        "INSERT OR REPLACE INTO batches (batch_id, key_id, created_us, expires_us, sealed_us, ended_us, request_count, "
        "succeeded, errored, canceled, expired, terms) VALUES ('message_batch_id', :key_id, :now_us, :now_us, :now_us, "
        ':now_us, 0, 0, 0, 0, 0, \'{"version":"2026-10-21"}\')',
    ),
    "test_api_keys.py": (
        "INSERT OR REPLACE INTO keys (key_id, name, secret_sha256, hint, created_us) VALUES ('api_key_id', 'seed', "
        "zeroblob(32), 'abcd', :now_us)",
    ),
    "test_workspaces.py": (
        "DELETE FROM workspaces",
        "INSERT INTO workspaces (workspace_id, name, created_us) VALUES ('workspace_id', 'seed', :now_us)",
    ),
}
"""Statements by the end of a test file's name."""


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> None:
    """The rows of a test, made anew."""
    for ending, statements in SEEDS.items():
        if request.path.name.endswith(ending):
            with closing(sqlite3.connect(os.environ["RENGA_SEED_DATABASE"], timeout=10)) as database, database:
                (key_id,) = database.execute("SELECT key_id FROM keys WHERE name = 'known'").fetchone()
                for statement in statements:
                    database.execute(statement, {"key_id": key_id, "now_us": int(time.time() * MICROSECONDS)})
