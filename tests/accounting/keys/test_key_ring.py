"""Keys: known by their hash, seen across processes, never waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from renga.accounting.keys.key_ring import KeyIdentity, KeyRing, digest_secret, make_key, make_secret
from renga.domain.audit import Author
from renga.domain.keys import SCOPES, KeyChange, KeyScope, KeyTerms
from renga.domain.workspaces import WorkspaceRow
from renga.errors import Unauthenticated
from renga.store.database import Database, open_database
from renga.store.database_handle import DatabaseHandle
from renga.testing.fake_clock import ToldClock


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        yield database


def now_us(clock: ToldClock) -> int:
    return int(clock.now().timestamp() * 1_000_000)


def test_only_the_hash_is_kept() -> None:
    key = make_key("laptop", 1000)
    assert key.secret.startswith("sk-renga-")
    assert key.row.secret_sha256 == digest_secret(key.secret)
    assert key.secret.encode() not in repr(key.row).encode()
    assert key.row.hint == key.secret[-4:]


def test_who_has_a_secret(clock: ToldClock) -> None:
    ring = KeyRing(clock)
    key, other = make_key("laptop", 1000), make_key("server", 1000)
    ring.load([key.row, other.row])
    assert ring.identify(key.secret) == KeyIdentity(key.row.key_id, "laptop")
    assert ring.identify(other.secret) == KeyIdentity(other.row.key_id, "server")
    for wrong in ("", "x", key.secret[:-1], key.secret + "x", key.secret.upper(), "\ud800", "Ω" * 100):
        assert ring.identify(wrong) is None


def test_changes_of_another_process_are_seen_at_the_next_run(clock: ToldClock, fresh: Database) -> None:
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


async def test_a_new_key_works_at_its_first_use(clock: ToldClock, fresh: Database) -> None:
    handle = DatabaseHandle()
    ring = KeyRing(clock, database=handle)
    ring.opened(fresh)
    handle.open(fresh)
    key = make_key("laptop", 1000)
    assert await ring.seek(key.secret) is None
    fresh.keys.create(key.row)
    assert ring.identify(key.secret) is None
    found = await asyncio.gather(*(ring.seek(key.secret) for _ in range(3)))
    assert found == [KeyIdentity(key.row.key_id, "laptop")] * 3
    assert ring.identify(key.secret) is not None


async def test_without_a_database_a_secret_is_nobodys(clock: ToldClock) -> None:
    ring = KeyRing(clock)
    ring.admit("sk-x", KeyIdentity("key_x", "x"))
    assert await ring.seek(make_key("laptop", 1000).secret) is None


def test_a_key_works_until_it_expires(clock: ToldClock) -> None:
    key = make_key("laptop", 1000)
    ring = KeyRing(clock)
    ring.load([replace(key.row, expires_us=now_us(clock) + 5_000_000)])
    assert ring.identify(key.secret) is not None
    clock.advance(5)
    with pytest.raises(Unauthenticated, match="expired"):
        ring.identify(key.secret)


def test_both_secrets_work_until_the_overlap_ends(clock: ToldClock, fresh: Database) -> None:
    key = make_key("laptop", 1000)
    fresh.keys.create(key.row)
    ring = KeyRing(clock)
    ring.opened(fresh)
    new = make_secret(now_us(clock) + 60_000_000)
    assert fresh.keys.rotate(key.row.key_id, new.rotation)
    ring.run(fresh)
    both = [ring.identify(key.secret), ring.identify(new.secret)]
    assert [identity and identity.key_id for identity in both] == [key.row.key_id] * 2
    clock.advance(60)
    assert ring.identify(new.secret) is not None
    with pytest.raises(Unauthenticated, match="expired"):
        ring.identify(key.secret)
    again = make_secret(now_us(clock))
    assert fresh.keys.rotate(key.row.key_id, again.rotation)
    ring.run(fresh)
    assert ring.identify(key.secret) is None
    with pytest.raises(Unauthenticated):
        ring.identify(new.secret)
    assert ring.identify(again.secret) is not None


def test_a_disabled_key_works_again_when_it_is_enabled(clock: ToldClock, fresh: Database) -> None:
    key = make_key("laptop", 1000)
    fresh.keys.create(key.row)
    ring = KeyRing(clock)
    for disabled_us, works in ((5000, False), (None, True)):
        fresh.keys.change(key.row.key_id, KeyChange(disabled_us=disabled_us))
        ring.run(fresh)
        assert (ring.identify(key.secret) is not None) == works


def test_an_archived_workspace_takes_its_keys_with_it(clock: ToldClock, fresh: Database) -> None:
    key = make_key("laptop", 1000)
    fresh.workspaces.create(WorkspaceRow("wrkspc_1", "team", 1000))
    fresh.keys.create(replace(key.row, workspace_id="wrkspc_1", terms=KeyTerms(tiers=("haiku",))))
    ring = KeyRing(clock)
    ring.run(fresh)
    identity = ring.identify(key.secret)
    assert identity == KeyIdentity(key.row.key_id, "laptop", "wrkspc_1", KeyTerms(tiers=("haiku",)))
    fresh.workspaces.archive("wrkspc_1", Author("test", 2000))
    ring.run(fresh)
    assert ring.identify(key.secret) is None


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_key_without_terms_is_good_for(scope: KeyScope) -> None:
    assert KeyTerms().allows(scope) == (scope in ("messages", "batches", "files"))
    assert KeyTerms(scopes=(scope,)).allows(scope)
    others = KeyTerms(scopes=tuple(other for other in SCOPES if other != scope))
    assert others.allows(scope) == (scope == "usage"), "an administrator sees reports too, and nothing else of others"


def test_the_first_key_of_all(clock: ToldClock, fresh: Database) -> None:
    plain = KeyRing(clock)
    plain.opened(fresh)
    assert plain.first_key is None
    assert fresh.keys.read() == []
    ring = KeyRing(clock, create_first=True)
    ring.opened(fresh)
    assert ring.first_key is not None
    identity = ring.identify(ring.first_key.secret)
    assert identity is not None
    assert (identity.key_id, identity.name) == (ring.first_key.row.key_id, "first")
    assert identity.terms.allows("messages") and identity.terms.allows("usage") and not identity.terms.allows("admin")
    again = KeyRing(clock, create_first=True)
    again.opened(fresh)
    assert again.first_key is None
    assert len(fresh.keys.read()) == 1


def test_use_is_stamped_once_a_minute(clock: ToldClock, fresh: Database) -> None:
    key, idle = make_key("laptop", 1000), make_key("idle", 1000)
    fresh.keys.create(key.row)
    fresh.keys.create(idle.row)
    ring = KeyRing(clock)
    ring.opened(fresh)

    def stamps() -> dict[str, int | None]:
        return {row.name: row.last_used_us for row in fresh.keys.read()}

    ring.identify(key.secret)
    ring.run(fresh)
    first = now_us(clock)
    assert stamps() == {"laptop": first, "idle": None}
    clock.advance(30)
    ring.identify(key.secret)
    ring.run(fresh)
    assert stamps()["laptop"] == first
    clock.advance(31)
    ring.identify(key.secret)
    ring.run(fresh)
    assert stamps()["laptop"] == now_us(clock) > first


def test_an_admitted_key_stays_when_keys_are_loaded(clock: ToldClock, fresh: Database) -> None:
    ring = KeyRing(clock)
    ring.admit("sk-for-this-process", KeyIdentity("key_command", "command line"))
    assert ring.identify("sk-for-this-process") is not None
    ring.opened(fresh)
    assert ring.identify("sk-for-this-process") is not None
    ring.run(fresh)
    assert fresh.keys.read() == []


def test_a_request_before_the_keys_are_loaded_waits_for_them(clock: ToldClock) -> None:
    ring, key = KeyRing(clock), make_key("laptop", 1000)
    answers: list[KeyIdentity | None] = []
    thread = threading.Thread(target=lambda: answers.append(ring.identify(key.secret)))
    thread.start()
    ring.load([key.row])
    thread.join()
    assert answers == [KeyIdentity(key.row.key_id, "laptop")]
