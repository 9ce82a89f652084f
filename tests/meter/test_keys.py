"""Keys: known by their hash, seen across processes, never waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.meter.conftest import FakeClock

from renga.meter.keys import KeyIdentity, KeyRing, digest_secret, make_key
from renga.store.database import Database, open_database
from renga.store.rows import Author


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        yield database


def test_only_the_hash_is_kept() -> None:
    key = make_key("laptop", 1000)
    assert key.secret.startswith("sk-renga-")
    assert key.row.secret_sha256 == digest_secret(key.secret)
    assert key.secret.encode() not in repr(key.row).encode()
    assert key.row.hint == key.secret[-4:]


def test_who_has_a_secret(clock: FakeClock) -> None:
    ring = KeyRing(clock)
    key, other = make_key("laptop", 1000), make_key("server", 1000)
    ring.load([key.row, other.row])
    assert ring.identify(key.secret) == KeyIdentity(key.row.key_id, "laptop")
    assert ring.identify(other.secret) == KeyIdentity(other.row.key_id, "server")
    for wrong in ("", "x", key.secret[:-1], key.secret + "x", key.secret.upper(), "\ud800", "Ω" * 100):
        assert ring.identify(wrong) is None


def test_changes_of_another_process_are_seen_at_the_next_run(clock: FakeClock, fresh: Database) -> None:
    ring = KeyRing(clock)
    ring.opened(fresh)
    key = make_key("laptop", 1000)
    assert ring.identify(key.secret) is None
    fresh.keys.create(key.row)
    ring.run(fresh)
    assert ring.identify(key.secret) is not None
    fresh.keys.revoke(key.row.key_id, Author("test", 2000))
    ring.run(fresh)
    assert ring.identify(key.secret) is None


def test_the_first_key_of_all(clock: FakeClock, fresh: Database) -> None:
    plain = KeyRing(clock)
    plain.opened(fresh)
    assert plain.first_key is None
    assert fresh.keys.read() == []
    ring = KeyRing(clock, create_first=True)
    ring.opened(fresh)
    assert ring.first_key is not None
    assert ring.identify(ring.first_key.secret) == KeyIdentity(ring.first_key.row.key_id, "first")
    again = KeyRing(clock, create_first=True)
    again.opened(fresh)
    assert again.first_key is None
    assert len(fresh.keys.read()) == 1


def test_use_is_stamped_once_a_minute(clock: FakeClock, fresh: Database) -> None:
    key, idle = make_key("laptop", 1000), make_key("idle", 1000)
    fresh.keys.create(key.row)
    fresh.keys.create(idle.row)
    ring = KeyRing(clock)
    ring.opened(fresh)

    def stamps() -> dict[str, int | None]:
        return {row.name: row.last_used_us for row in fresh.keys.read()}

    def now_us() -> int:
        return int(clock.now().timestamp() * 1_000_000)

    ring.identify(key.secret)
    ring.run(fresh)
    first = now_us()
    assert stamps() == {"laptop": first, "idle": None}
    clock.advance(30)
    ring.identify(key.secret)
    ring.run(fresh)
    assert stamps()["laptop"] == first
    clock.advance(31)
    ring.identify(key.secret)
    ring.run(fresh)
    assert stamps()["laptop"] == now_us() > first


def test_an_admitted_key_stays_when_keys_are_loaded(clock: FakeClock, fresh: Database) -> None:
    ring = KeyRing(clock)
    ring.admit("sk-for-this-process", KeyIdentity("key_command", "command line"))
    assert ring.identify("sk-for-this-process") is not None
    ring.opened(fresh)
    assert ring.identify("sk-for-this-process") is not None
    ring.run(fresh)
    assert fresh.keys.read() == []


def test_a_request_before_the_keys_are_loaded_waits_for_them(clock: FakeClock) -> None:
    ring, key = KeyRing(clock), make_key("laptop", 1000)
    answers: list[KeyIdentity | None] = []
    thread = threading.Thread(target=lambda: answers.append(ring.identify(key.secret)))
    thread.start()
    ring.load([key.row])
    thread.join()
    assert answers == [KeyIdentity(key.row.key_id, "laptop")]
