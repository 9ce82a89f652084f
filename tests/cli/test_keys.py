"""`renga keys`, `renga workspaces` and `renga audit`: terms, time, rotation, who did what."""

from __future__ import annotations

import re
import time

import msgspec
import pytest
import typer
from msgspec.structs import replace
from tests.cli.conftest import Shell

from renga.accounting.keys.key_ring import digest_secret
from renga.cli.shell.times import parse_duration_us, parse_end_us
from renga.domain.keys import KeyLimits, KeyRow, KeyTerms
from renga.store.database import open_database
from renga.testing.suites.store_suite import make_row

DAY_US = 86_400_000_000
NOW_US = 1_795_000_000_000_000
"""2026-11-18."""


def read_key(shell: Shell, name: str) -> KeyRow:
    with open_database(shell.database_url) as database:
        return next(row for row in database.keys.read() if row.name == name)


def test_a_key_with_terms_in_a_workspace(shell: Shell) -> None:
    made = shell.call("workspaces", "create", "team", "--limit", "budget_usd_per_month=500")
    assert made.code == 0
    workspace_id = re.findall(r"wrkspc_\w{24}", made.out)[0]
    code = shell.call(
        "keys", "create", "bot", "--workspace", "team", "--scope", "usage,messages", "--tier", "haiku",
        "--expires", "30d", "--response-cache",
    ).code  # fmt: skip
    assert code == 0
    row = read_key(shell, "bot")
    assert row.workspace_id == workspace_id
    assert row.terms == KeyTerms(scopes=("messages", "usage"), tiers=("haiku",), response_cache=True)
    assert row.expires_us is not None
    assert abs(row.expires_us - row.created_us - 30 * DAY_US) < 60_000_000
    listed = shell.call("keys", "list").out
    assert "team" in listed
    assert "scopes=messages,usage tiers=haiku response_cache" in listed
    assert "active until" in listed
    changed = shell.call(
        "keys", "update", "bot", "--name", "robot", "--scope", "default", "--tier", "all", "--expires", "never",
        "--no-response-cache", "--workspace", "none",
    )  # fmt: skip
    assert changed.out == f"{row.key_id}: default\n"
    changed_row = read_key(shell, "robot")
    assert (changed_row.terms, changed_row.expires_us, changed_row.workspace_id) == (
        KeyTerms(),
        None,
        None,
    )


def test_a_key_with_what_it_has_spent(shell: Shell) -> None:
    shell.write_config("[limits]\nbudget_usd_per_month = 40\n")
    shell.call("keys", "create", "bot", "--limit", "budget_usd_per_day=2.50")
    row, now_us = read_key(shell, "bot"), time.time_ns() // 1000
    with open_database(shell.database_url) as database:
        rows = [replace(make_row("req_1"), cost_nano_usd=22_500_000), replace(make_row("req_2"), cost_nano_usd=7)]
        database.ledger.write_rows([replace(spent, key_id=row.key_id, time_us=now_us) for spent in rows])
    shown = dict(line.split("  ", 1) for line in shell.call("keys", "get", "bot").out.splitlines())
    assert shown["id"].strip() == row.key_id
    told = msgspec.json.decode(shell.call("keys", "get", row.key_id, "--json").out)
    assert (told["spent_today_usd"], told["budget_today_usd"]) == ("0.022500007", "2.5")
    assert (told["spent_this_month_usd"], told["budget_this_month_usd"]) == ("0.022500007", "40")
    assert shell.call("keys", "get", "nobody").code != 0


def test_a_secret_is_replaced(shell: Shell) -> None:
    old = shell.call("keys", "create", "bot").out.strip()
    rotated = shell.call("keys", "rotate", "bot", "--overlap", "24h")
    new = rotated.out.strip()
    assert re.fullmatch(r"sk-renga-\w{43}", new)
    assert new != old
    assert "works until" in rotated.err
    assert new not in rotated.err
    row = read_key(shell, "bot")
    assert (row.secret_sha256, row.previous_sha256) == (digest_secret(new), digest_secret(old))
    assert row.previous_until_us is not None
    assert abs(row.previous_until_us - time.time_ns() // 1000 - DAY_US) < 60_000_000


def test_a_key_rests(shell: Shell) -> None:
    shell.call("keys", "create", "bot")
    assert shell.call("keys", "disable", "bot").code == 0
    assert "disabled 20" in shell.call("keys", "list").out
    assert shell.call("keys", "enable", "bot").code == 0
    assert read_key(shell, "bot").disabled_us is None


def test_workspaces_have_limits_and_end_with_their_keys(shell: Shell) -> None:
    assert "No workspaces yet" in shell.call("workspaces", "list").out
    shell.call("workspaces", "create", "team")
    assert shell.call("workspaces", "create", "team").code == 1
    shell.call("keys", "create", "bot", "--workspace", "team")
    limited = shell.call("workspaces", "limit", "team", "requests_per_minute=60", "budget_usd_per_day=2.50")
    assert limited.out == "requests_per_minute=60\nbudget_usd_per_day=2.5\n"
    (listed,) = msgspec.json.decode(shell.call("workspaces", "list", "--json").out)
    assert (listed["name"], listed["keys"], listed["state"]) == ("team", 1, "active")
    with open_database(shell.database_url) as database:
        limits = KeyLimits(requests_per_minute=60, budget_nano_usd_per_day=2_500_000_000)
        assert database.workspaces.read()[0].limits == limits
    assert shell.call("workspaces", "archive", "team").code == 0
    assert read_key(shell, "bot").revoked_us is not None
    refused = shell.call("keys", "create", "other", "--workspace", "team")
    assert (refused.code, refused.out) == (1, "")
    assert "no workspace is called 'team'" in refused.err


def test_the_audit_names_who_and_what_but_no_secret(shell: Shell) -> None:
    assert shell.call("audit").out == "No entries.\n"
    secret = shell.call("keys", "create", "bot", "--limit", "requests_per_minute=5").out.strip()
    new = shell.call("keys", "rotate", "bot").out.strip()
    shell.call("keys", "update", "bot")
    shell.call("keys", "revoke", "bot")
    entries = msgspec.json.decode(shell.call("audit", "--json").out)
    assert [entry["action"] for entry in entries] == ["key.revoke", "key.rotate", "key.create"]
    assert all(entry["actor"].startswith("cli:") for entry in entries)
    shown = shell.call("audit").out
    assert "requests_per_minute=5" in shown
    assert re.search(r"previous_until=\d{4}-\d\d-\d\dT\d\d:\d\d", shown)
    assert secret not in shown + str(entries)
    assert new not in shown + str(entries)
    assert shell.call("audit", "--subject", "key_none").out == "No entries.\n"


def test_what_is_no_term_is_refused(shell: Shell) -> None:
    for wrong in (["--scope", "everything"], ["--tier", "mega"], ["--expires", "soon"], ["--expires", "2020-01-01"]):
        refused = shell.call("keys", "create", "bot", *wrong)
        assert (refused.code, refused.out) == (2, ""), wrong
    shell.call("keys", "create", "bot")
    assert shell.call("keys", "rotate", "bot", "--overlap", "1 day").code == 2


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("90m", 5400), ("24h", 86_400), ("2w", 1_209_600)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration_us(text) == seconds * 1_000_000


def test_ends() -> None:
    assert parse_end_us("never", NOW_US) is None
    assert parse_end_us("1d", NOW_US) == NOW_US + DAY_US
    assert parse_end_us("2027-01-01", NOW_US) == 1_798_761_600_000_000
    with pytest.raises(typer.BadParameter, match="over"):
        parse_end_us("2026-01-01", NOW_US)
