"""Addresses of a shared count: what is one, and that a bad one is not repeated in an error."""

from __future__ import annotations

import pytest

from renga.accounting.limits.shared.valkey_connection import parse_address
from renga.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "name", "database", "tls"),
    [
        ("valkey://count:7000/2", "count:7000", 2, False),
        ("rediss://user:p%40ss@count", "count:6379", 0, True),
        ("unix:///run/valkey.sock?db=3", "/run/valkey.sock", 3, False),
        ("redis://[::1]:6380", "::1:6380", 0, False),
    ],
)
def test_addresses(url: str, name: str, database: int, tls: bool) -> None:
    address = parse_address(url)
    assert (address.name, address.database, address.tls) == (name, database, tls)
    assert address.password in ("", "p@ss")


@pytest.mark.parametrize("url", ["http://:secret@count", "valkey://", "valkey://:secret@count/x", "valkey://h:port"])
def test_bad_addresses_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"limits\.shared_url") as refused:
        parse_address(url)
    assert "secret" not in refused.value.sentence()
