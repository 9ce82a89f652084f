"""Several servers on one PostgreSQL: what one is told all know, and an outage costs no row and doubles none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import anthropic
import pytest
from anthropic import Anthropic

from renga.accounting.keys.key_ring import make_key
from renga.domain.audit import Author
from renga.domain.ledger import LedgerRow
from renga.store.database import open_database
from renga.testing.servers.postgresql import AVAILABLE, PostgresqlServer
from renga.testing.servers.scripted_upstream import echo_config
from renga.testing.servers.served import Served, ServedSettings, respawned, served, wait_until

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not AVAILABLE, reason="PostgreSQL is not installed")

ASK = {"model": "haiku", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
RENGA = Path(sys.executable).with_name("renga")


@pytest.fixture(scope="module")
def database_server() -> Generator[PostgresqlServer]:
    with PostgresqlServer() as running:
        yield running


@pytest.fixture(scope="module")
def url(database_server: PostgresqlServer) -> str:
    return database_server.create_database()


@pytest.fixture(scope="module")
def servers(url: str, echo_url: str) -> Generator[list[Served]]:
    settings = ServedSettings(echo_config(echo_url), store_url=url)
    with ExitStack() as stack:
        yield [stack.enter_context(served(settings)) for _ in range(2)]


def ask(server: Served, count: int, secret: str | None = None) -> set[str]:
    """So many requests; their ids."""
    with Anthropic(base_url=server.url, api_key=secret or server.secret, max_retries=0) as client:
        return {client.messages.with_raw_response.create(**ASK).headers["request-id"] for _ in range(count)}


def read_rows(url: str) -> list[LedgerRow]:
    with open_database(url) as database:
        return database.ledger.read_rows(limit=100_000)


def check_ledger(url: str, asked: set[str]) -> None:
    """Every request has one row, and every row is one of the requests."""
    found: list[str] = []

    def complete() -> bool:
        found[:] = [row.request_id for row in read_rows(url)]
        return asked <= set(found)

    wait_until(complete)
    assert len(found) == len(set(found))


def test_programs_that_start_at_once_on_an_empty_database(database_server: PostgresqlServer) -> None:
    empty = database_server.create_database()
    variables = {**os.environ, "RENGA_STORE_URL": empty}
    commands = [
        subprocess.Popen(
            [RENGA, "keys", "create", f"key-{number}"], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for number in range(2)
    ]
    for command in commands:
        _, errors = command.communicate(timeout=45)
        assert command.returncode == 0, errors
    with open_database(empty) as database:
        assert sorted(key.name for key in database.keys.read()) == ["key-0", "key-1"]


def test_servers_share_keys_and_ledger(servers: list[Served], url: str) -> None:
    key = make_key("shared", time.time_ns() // 1000)
    with open_database(url) as database:
        database.keys.create(key.row)

        def works(server: Served) -> bool:
            try:
                with Anthropic(base_url=server.url, api_key=key.secret, max_retries=0) as client:
                    client.models.list()
            except anthropic.AuthenticationError:
                return False
            return True

        wait_until(lambda: all(works(server) for server in servers))
        asked = set().union(*(ask(server, 10, key.secret) for server in servers))
        assert len(asked) == 20
        check_ledger(url, asked)
        assert {row.key_id for row in read_rows(url) if row.request_id in asked} == {key.row.key_id}
        database.keys.revoke(key.row.key_id, Author("test", time.time_ns() // 1000))
        wait_until(lambda: not any(works(server) for server in servers))


def test_an_outage_costs_no_row_and_doubles_none(
    servers: list[Served], url: str, database_server: PostgresqlServer
) -> None:
    """PostgreSQL is stopped, then crashed, while requests go on; one server is killed while it is away."""
    first, second = servers
    asked = ask(first, 5) | ask(second, 5)
    for end in (database_server.stop, database_server.kill):
        end()
        asked |= ask(first, 10) | ask(second, 10)
        wait_until(lambda: all(server.gauges()["renga_ledger_queue_rows"] == 0 for server in servers))
        assert all(list(server.folder.glob("ledger.spool*")) for server in servers)
        asked |= ask(second, 5)
        database_server.start()
        check_ledger(url, asked)
        wait_until(lambda: not any(list(server.folder.glob("ledger.spool*")) for server in servers))
        assert all(server.gauges()["renga_ledger_lost_rows_total"] == 0 for server in servers)
    database_server.stop()
    asked |= ask(first, 10)
    wait_until(lambda: first.gauges()["renga_ledger_queue_rows"] == 0)
    first.process.kill()
    first.process.wait()
    database_server.start()
    with respawned(first) as again:
        asked |= ask(again, 5)
        check_ledger(url, asked)
        assert not list(again.folder.glob("ledger.spool*"))
