"""PostgreSQL keeps every promise of the store. Runs where a server and psycopg are installed, skipped elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from renga.store.database import open_database
from renga.store.errors import DatabaseAway
from renga.testing.servers.postgresql import AVAILABLE, PostgresqlServer
from renga.testing.suites.store_suite import StoreSuite, make_key, make_row

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not AVAILABLE, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as running:
        yield running


class TestPostgresql(StoreSuite):
    @pytest.fixture
    def url(self, server: PostgresqlServer) -> str:
        return server.create_database()


def test_a_server_that_stops_and_starts_is_a_database_away_meanwhile(server: PostgresqlServer) -> None:
    with open_database(server.create_database()) as database:
        database.ledger.write_rows([make_row("req_1")])
        for end in (server.stop, server.kill):
            end()
            for _ in range(3):
                with pytest.raises(DatabaseAway):
                    database.ledger.write_rows([make_row("req_2")])
            server.start()
            database.ledger.write_rows([make_row("req_2"), make_row("req_3")])
        assert [row.request_id for row in database.ledger.read_rows()] == ["req_1", "req_2", "req_3"]


def test_of_many_first_keys_at_once_one_is_made(server: PostgresqlServer) -> None:
    url, made = server.create_database(), []

    def create(number: int) -> None:
        with open_database(url) as database:
            made.append(database.keys.create_first(make_key(number)))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]
