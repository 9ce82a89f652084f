"""The administrators' port of a real server, as the SDK and curl meet it."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic
from msgspec.structs import replace

from renga.accounting.keys.key_ring import make_key
from renga.domain.audit import AuditQuery
from renga.domain.keys import KeyTerms
from renga.domain.ledger import LedgerRow
from renga.testing.servers.scripted_upstream import echo_config
from renga.testing.servers.served import Served, ServedSettings, served, wait_until
from renga.testing.suites.store_suite import make_row

ASK = {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
DAY = datetime(2026, 10, 1, tzinfo=UTC)
"""A day without requests but those that the tests write."""
ADMIN = """\
[admin]
port = 0
organization = "Basho & Co"
"""


@pytest.fixture(scope="module")
def server(echo_url: str) -> Generator[Served]:
    with served(ServedSettings(echo_config(echo_url) + ADMIN)) as running:
        yield running


def add_key(server: Served, name: str, terms: KeyTerms, **fields: object) -> tuple[str, str]:
    """A key beside the server that runs: its id and secret."""
    key = make_key(name, time.time_ns() // 1000)
    with server.open_database() as database:
        database.keys.create(replace(key.row, terms=terms, **fields))
    return key.row.key_id, key.secret


@pytest.fixture(scope="module")
def admin_url(server: Served) -> str:
    wait_until(lambda: "Administrators' port: " in server.log)
    found = re.search(r"Administrators' port: (\S+)", server.log)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def admin(server: Served, admin_url: str) -> Generator[Anthropic]:
    key_id, secret = add_key(server, "root", KeyTerms(scopes=("admin",)))
    with Anthropic(base_url=admin_url, api_key=secret, max_retries=0) as client:

        def known() -> bool:
            try:
                return client.organization.retrieve().name == "Basho & Co"
            except anthropic.AuthenticationError:
                return False

        wait_until(known)
        client.renga_key_id = key_id  # type: ignore[attr-defined]
        yield client


def get(client: Anthropic, path: str, **query: object) -> dict:
    return client.get(path, cast_to=dict[str, Any], options={"params": query})


def call(url: str, path: str, secret: str, method: str = "GET") -> httpx2.Response:
    return httpx2.request(method, url + path, headers={"x-api-key": secret})


def test_the_clients_port_has_none_of_it(server: Served, admin: Anthropic, admin_url: str) -> None:
    for path in ("/v1/organizations/me", "/v1/organizations/api_keys", "/v1/organizations/usage_report/messages"):
        assert call(server.url, path, server.secret).status_code == 404
        assert call(server.url, path, admin.api_key).status_code == 404
        assert call(server.url, path, "wrong").status_code == 401
        # A host header names no port: the socket does.
        spoofed = {"x-api-key": admin.api_key, "host": admin_url.removeprefix("http://")}
        assert httpx2.get(server.url + path, headers=spoofed).status_code == 404
    for path in ("/v1/messages", "/v1/models", "/v1/files"):
        assert call(admin_url, path, admin.api_key).status_code == 404
    assert call(admin_url, "/health", "").status_code == 200


def test_scopes_keep_others_out(server: Served, admin: Anthropic, admin_url: str) -> None:
    refused = call(admin_url, "/v1/organizations/api_keys", server.secret)
    assert refused.status_code == 403
    assert refused.json()["error"]["type"] == "permission_error"
    assert "`admin`" in refused.json()["error"]["message"]
    assert call(server.url, "/v1/messages", admin.api_key, "POST").status_code == 403
    _, secret = add_key(server, "reporter", KeyTerms(scopes=("usage",)))
    report = "/v1/organizations/cost_report?starting_at=2026-10-01T00:00:00Z&limit=1"
    wait_until(lambda: call(admin_url, report, secret).status_code == 200)
    assert call(admin_url, "/v1/organizations/api_keys", secret).status_code == 403
    assert call(admin_url, report, server.secret).status_code == 403


def test_keys(server: Served, admin: Anthropic, admin_url: str) -> None:
    expires_us = (time.time_ns() // 1000) + 3_600_000_000
    key_id, secret = add_key(server, "bot", KeyTerms(tiers=("haiku",)), expires_us=expires_us)
    key = admin.organization.api_keys.retrieve(key_id)
    assert (key.id, key.name, key.status, key.scope.type) == (key_id, "bot", "active", "organization")
    assert key.partial_key_hint is not None
    assert key.partial_key_hint.endswith(secret[-4:])
    assert key.expires_at is not None
    assert int(key.expires_at.timestamp() * 1_000_000) == expires_us
    everything = admin.organization.api_keys.list(limit=1)
    ids = [each.id for each in everything]
    assert ids[0] == key_id
    assert len(ids) == len(set(ids)) >= 3
    assert [each.id for each in admin.organization.api_keys.list(after_id=ids[0])] == ids[1:]

    def works() -> bool:
        return call(server.url, "/v1/models", secret).status_code == 200

    wait_until(works)
    assert admin.organization.api_keys.update(key_id, status="inactive", name="resting").status == "inactive"
    wait_until(lambda: not works())
    assert [each.name for each in admin.organization.api_keys.list(status="inactive")] == ["resting"]
    assert admin.organization.api_keys.update(key_id, status="active").status == "active"
    wait_until(works)
    assert admin.organization.api_keys.update(key_id, status="archived").status == "archived"
    wait_until(lambda: not works())
    with pytest.raises(anthropic.ConflictError):
        admin.organization.api_keys.update(key_id, status="active")
    with pytest.raises(anthropic.NotFoundError):
        admin.organization.api_keys.retrieve("key_none")
    with pytest.raises(anthropic.BadRequestError, match="status"):
        admin.organization.api_keys.update(key_id, status="asleep")  # type: ignore[arg-type]
    with pytest.raises(anthropic.BadRequestError, match="after_id"):
        admin.organization.api_keys.list(after_id="key_none")


def test_workspaces(server: Served, admin: Anthropic) -> None:
    made = admin.organization.workspaces.create(name="Poets")
    assert (made.name, made.archived_at, made.tags) == ("Poets", None, {})
    other = admin.organization.workspaces.create(name="Painters")
    assert [each.id for each in admin.organization.workspaces.list(limit=1)] == [other.id, made.id]
    assert [each.id for each in admin.organization.workspaces.list(ids=[made.id])] == [made.id]
    with pytest.raises(anthropic.ConflictError, match="name"):
        admin.organization.workspaces.update(other.id, name="Poets")
    assert admin.organization.workspaces.update(made.id, name="Linked poets").name == "Linked poets"
    with pytest.raises(anthropic.BadRequestError, match="tags: This server has nothing"):
        admin.organization.workspaces.create(name="Tagged", tags={"a": "b"})
    with pytest.raises(anthropic.BadRequestError, match="data_residency: This server has nothing"):
        admin.organization.workspaces.create(name="Placed", data_residency={"workspace_geo": "us"})
    key_id, _ = add_key(server, "poet", KeyTerms(), workspace_id=made.id)
    key = admin.organization.api_keys.retrieve(key_id)
    assert key.scope.type == "workspace"
    assert [each.id for each in admin.organization.api_keys.list(workspace_id=made.id)] == [key_id]
    assert admin.organization.workspaces.archive(made.id).archived_at is not None
    assert admin.organization.workspaces.archive(made.id).archived_at is not None
    assert admin.organization.api_keys.retrieve(key_id).status == "archived"
    assert made.id not in [each.id for each in admin.organization.workspaces.list()]
    assert made.id in [each.id for each in admin.organization.workspaces.list(include_archived=True)]
    with pytest.raises(anthropic.NotFoundError):
        admin.organization.workspaces.retrieve("wrkspc_none")


def test_every_request_and_change_is_in_the_audit(server: Served, admin: Anthropic) -> None:
    key_id, secret = add_key(server, "watched", KeyTerms())
    admin.organization.api_keys.retrieve(key_id)
    admin.organization.api_keys.update(key_id, status="inactive")
    page = get(admin, "/v1/organizations/audit", subject=key_id)
    actor = admin.renga_key_id  # type: ignore[attr-defined]
    assert [(entry["actor"], entry["action"]) for entry in page["data"]] == [
        (actor, "key.change"),
        (actor, "POST /v1/organizations/api_keys/{}"),
        (actor, "GET /v1/organizations/api_keys/{}"),
        ("system", "key.create"),
    ]
    assert list(page["data"][0]["detail"]) == ["disabled_us"]
    first = get(admin, "/v1/organizations/audit", limit=1)
    second = get(admin, "/v1/organizations/audit", limit=1, after_id=first["last_id"])
    assert first["has_more"]
    assert second["data"][0]["id"] != first["data"][0]["id"]
    with server.open_database() as database:
        everything = repr(database.audit.read(AuditQuery(limit=10_000)))
    assert secret not in everything
    assert admin.api_key not in everything


def ledger_row(name: str, at: datetime, **fields: object) -> LedgerRow:
    return replace(make_row(name), time_us=int(at.timestamp() * 1_000_000), **fields)


@pytest.fixture(scope="module")
def filled(server: Served) -> Served:
    noon = DAY + timedelta(hours=12)
    with server.open_database() as database:
        database.ledger.write_rows(
            [
                ledger_row("req_a1", noon, cost_nano_usd=22_500_000),
                ledger_row("req_a2", noon + timedelta(minutes=1), key_id="key_b", workspace_id="wrkspc_1"),
                ledger_row("req_a3", noon + timedelta(days=1), service_tier="batch", target="echo/echo"),
                ledger_row("req_a4", noon + timedelta(days=1), input_tokens=250_000, cost_nano_usd=None),
            ]
        )
    return server


def test_tokens_by_day_and_group(filled: Served, admin: Anthropic) -> None:
    path, start = "/v1/organizations/usage_report/messages", DAY.isoformat()
    report = get(admin, path, starting_at=start, limit=3)
    assert [bucket["starting_at"] for bucket in report["data"]] == [f"2026-10-0{day}T00:00:00Z" for day in (1, 2, 3)]
    assert report["data"][2]["results"] == []
    (first,) = report["data"][0]["results"]
    assert first == {
        "uncached_input_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 4},
        "cache_read_input_tokens": 6,
        "output_tokens": 10,
        "api_key_id": None, "workspace_id": None, "model": None, "service_tier": None, "context_window": None,
        "inference_geo": None, "server_tool_use": {"web_search_requests": 0}, "account_id": None,
        "service_account_id": None, "speed": None,
    }  # fmt: skip
    assert report["has_more"]
    following = get(admin, path, starting_at=start, limit=3, page=report["next_page"])
    assert following["data"][0]["starting_at"] == "2026-10-04T00:00:00Z"
    grouped = get(
        admin, path, starting_at=start, ending_at=(DAY + timedelta(days=2)).isoformat(),
        group_by=["api_key_id", "workspace_id", "model", "service_tier", "context_window"],
    )  # fmt: skip
    assert not grouped["has_more"]
    found = {
        tuple(item[name] for name in ("api_key_id", "workspace_id", "model", "service_tier", "context_window"))
        for bucket in grouped["data"]
        for item in bucket["results"]
    }
    assert found == {
        ("key_a", None, "local/hokku", "standard", "0-200k"),
        ("key_b", "wrkspc_1", "local/hokku", "standard", "0-200k"),
        ("key_a", None, "echo/echo", "batch", "0-200k"),
        ("key_a", None, "local/hokku", "standard", "200k-1M"),
    }
    for query, tokens in (
        ({"api_key_ids": ["key_b"]}, 10),
        ({"models": ["echo/echo"]}, 10),
        ({"service_tiers": ["batch"]}, 10),
        ({"context_window": ["200k-1M"]}, 250_000),
        ({"workspace_ids": ["wrkspc_1", "wrkspc_2"]}, 10),
        ({"workspace_ids": ["wrkspc_2"]}, 0),
    ):
        chosen = get(admin, path, starting_at=start, limit=2, **query)
        items = [item["uncached_input_tokens"] for bucket in chosen["data"] for item in bucket["results"]]
        assert sum(items) == tokens, query


def test_tokens_by_minute_and_hour(filled: Served, admin: Anthropic) -> None:
    path, noon = "/v1/organizations/usage_report/messages", DAY + timedelta(hours=12, seconds=30)
    minutes = get(admin, path, starting_at=noon.isoformat(), bucket_width="1m", limit=3)
    assert [len(bucket["results"]) for bucket in minutes["data"]] == [1, 1, 0]
    assert minutes["data"][1]["ending_at"] == "2026-10-01T12:02:00Z"
    hours = get(admin, path, starting_at=noon.isoformat(), bucket_width="1h")
    assert len(hours["data"]) == 24
    assert hours["data"][0]["results"][0]["uncached_input_tokens"] == 20
    for wrong, name in (
        ({"bucket_width": "1w"}, "bucket_width"),
        ({"bucket_width": "1m", "limit": 1441}, "limit"),
        ({"group_by": ["mood"]}, "group_by"),
        ({"ending_at": noon.isoformat()}, "ending_at"),
        ({"page": "page_x"}, "page"),
        ({"speeds": ["fast"]}, "speeds"),
        ({"group": "model"}, "group"),
    ):
        with pytest.raises(anthropic.BadRequestError, match=name):
            get(admin, path, **{"starting_at": noon.isoformat(), **wrong})
    with pytest.raises(anthropic.BadRequestError, match="starting_at"):
        get(admin, path)


def test_dollars_by_day(filled: Served, admin: Anthropic) -> None:
    path, start = "/v1/organizations/cost_report", DAY.isoformat()
    report = get(admin, path, starting_at=start, limit=2)
    first, second = (bucket["results"][0] for bucket in report["data"])
    assert (first["amount"], first["currency"]) == ("2.25001", "USD")
    assert (second["amount"], second["renga"]) == ("0.00001", {"requests": 2, "unpriced_requests": 1})
    grouped = get(admin, path, starting_at=start, limit=1, group_by=["workspace_id", "description"])
    assert {(item["workspace_id"], item["amount"]) for item in grouped["data"][0]["results"]} == {
        (None, "2.25"),
        ("wrkspc_1", "0.00001"),
    }
    assert {item["description"] for item in grouped["data"][0]["results"]} == {"local/hokku usage"}


def test_the_running_day_shows_what_was_just_asked(server: Served, admin: Anthropic) -> None:
    with Anthropic(base_url=server.url, api_key=server.secret) as client:
        client.messages.create(**ASK)
    today = datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")

    def amount() -> str | None:
        results = get(admin, "/v1/organizations/cost_report", starting_at=today)["data"][0]["results"]
        return results[0]["amount"] if results else None

    # 12 tokens in at $1 and 100 out at $5 a million: 0.0512 cents.
    wait_until(lambda: amount() == "0.0512")
