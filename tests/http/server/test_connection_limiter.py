"""Connections have a bound, in all and of one address, and whoever is one too many is told."""

import asyncio

import pytest

from renga.config import ServerSettings
from renga.http.server.connection_limiter import ConnectionLimiter


async def test_a_connection_too_many_is_told_and_the_next_is_served_when_one_has_gone(serve, hello):
    served = await serve(ServerSettings(max_connections=2))
    async with await served.connect() as first:
        second = await served.connect()
        for connection in (first, second):
            await connection.send("GET", "/health", {}, b"")
            assert (await connection.read()).status == 200
        refused = await served.ask("POST", "/v1/messages", b"x" * 2_000_000)
        assert (refused.status, refused.json()["error"]["type"]) == (529, "overloaded_error")
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
        await second.close()
        async with asyncio.timeout(10):
            while (await served.ask("POST", "/v1/messages", hello)).status != 200:
                pass
        await first.send("GET", "/health", {}, b"")
        assert (await first.read()).status == 200


async def test_one_address_has_its_part(serve):
    served = await serve(ServerSettings(max_connections_per_address=1))
    async with await served.connect() as own:
        await own.send("GET", "/health", {}, b"")
        assert (await own.read()).status == 200
        refused = await served.ask("GET", "/health")
        assert (refused.status, refused.json()["error"]["type"]) == (429, "rate_limit_error")


@pytest.mark.parametrize("bound", [0, 3])
def test_who_was_let_in_leaves_once(bound: int) -> None:
    limiter = ConnectionLimiter(5, bound)
    places = [(1, "10.0.0.1"), (1, "10.0.0.2"), (2, "10.0.0.1"), (1, "2001:db8::1"), (1, "2001:db8::ffff:2")]
    for place in places:
        assert limiter.admit(*place) is None
    assert limiter.admit(1, "10.0.0.9") is None
    assert limiter.admit(1, "10.0.0.9") is not None, "five are in at this port"
    assert limiter.admit(2, "10.0.0.9") is None, "another port has its own"
    for place in (*places, (1, "10.0.0.9"), (2, "10.0.0.9")):
        limiter.release(*place)
    assert all(limiter.admit(1, f"10.0.0.{number}") is None for number in range(5))


def test_addresses_of_one_network_are_one() -> None:
    limiter = ConnectionLimiter(0, 1)
    assert limiter.admit(1, "2001:db8::1") is None
    assert limiter.admit(1, "2001:db8::ffff:2") is not None
    assert limiter.admit(1, "2001:db9::1") is None
    assert limiter.admit(1, "::ffff:10.0.0.1") is None
    assert limiter.admit(1, "10.0.0.1") is not None
