"""`renga keys` and `renga usage`: what they print, to people and to programs."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import msgspec
import pytest
import typer
from msgspec.structs import replace
from tests.cli.conftest import Shell

from renga.accounting.keys.key_ring import digest_secret
from renga.cli.accounts.limits import change_limits
from renga.cli.accounts.usage import render_exact_usd, render_usd
from renga.domain.keys import KeyLimits
from renga.store.database import open_database
from renga.testing.suites.store_suite import make_key, make_row


def test_a_key_is_made_listed_and_revoked(shell: Shell) -> None:
    assert shell.call("keys", "list").out == "No keys yet: `renga keys create NAME` makes one.\n"
    made = shell.run("keys", "create", "laptop")
    assert made.code == 0
    secret = made.out.strip()
    assert re.fullmatch(r"sk-renga-\w{43}", secret)
    assert "laptop" in made.err
    assert secret not in made.err
    with open_database(shell.database_url) as database:
        (row,) = database.keys.read()
    assert row.secret_sha256 == digest_secret(secret)
    listed = shell.run("keys", "list")
    assert secret not in listed.out
    head, line = listed.out.splitlines()
    assert head.split() == [
        "id", "name", "ends", "in", "workspace", "created", "last", "used", "limits", "terms", "state",
    ]  # fmt: skip
    assert line.split()[:3] == [row.key_id, "laptop", secret[-4:]]
    assert line.rstrip().endswith("never      default  default  active")
    assert shell.run("keys", "revoke", "laptop").out == f'Revoked {row.key_id} "laptop".\n'
    assert "revoked 20" in shell.call("keys", "list").out
    again = shell.call("keys", "revoke", "laptop")
    assert (again.code, again.out) == (1, "")
    assert again.err == "renga: no working key is called 'laptop' (`renga keys list` shows them)\n"


def test_the_database_is_made_where_there_is_none(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell.call("keys", "create", "--data-dir", "somewhere/new").code == 0
    assert (tmp_path / "somewhere" / "new" / "renga.db").is_file()


def test_keys_for_programs(shell: Shell) -> None:
    shell.call("keys", "create", "[bold]odd[/bold]")
    (key,) = msgspec.json.decode(shell.call("keys", "list", "--json").out)
    assert (key["name"], key["state"], key["last_used"]) == ("[bold]odd[/bold]", "active", "never")
    assert "[bold]odd[/bold]" in shell.call("keys", "list").out


def test_a_name_that_two_keys_have_revokes_neither(shell: Shell) -> None:
    shell.call("keys", "create", "twin")
    shell.call("keys", "create", "twin")
    refused = shell.call("keys", "revoke", "twin")
    assert refused.code == 1
    ids = re.findall(r"key_\w+", refused.err)
    assert len(ids) == 2
    assert shell.call("keys", "revoke", ids[0]).code == 0


def fill(shell: Shell) -> None:
    with open_database(shell.database_url) as database:
        database.keys.create(replace(make_key(1, "laptop"), key_id="key_a"))
        database.ledger.write_rows(
            [
                replace(make_row("req_1"), cost_nano_usd=22_500_000, input_tokens=10_000, output_tokens=2_500),
                replace(make_row("req_2"), status="failed", cost_nano_usd=0),
                replace(make_row("req_3"), target="vllm/x", cost_nano_usd=None),
            ]
        )


def test_usage_for_people(shell: Shell) -> None:
    fill(shell)
    lines = [" ".join(line.split()) for line in shell.run("usage", "--since", "2026-11-01").out.splitlines()]
    assert lines == [
        "day key tier target requests failed input cache write cache read output thinking cost",
        "2026-11-21 laptop haiku local/hokku 2 1 10,010 6 6 2,505 8 $0.022500",
        "2026-11-21 laptop haiku vllm/x 1 0 10 3 3 5 4 ?",
        "total 3 1 10,020 9 9 2,510 12 $0.022500 + ?",
        "",
        "Requests without a known price: 1. [prices] in renga.toml sets prices for the next ones.",
    ]


def test_usage_for_programs(shell: Shell) -> None:
    fill(shell)
    (day,) = msgspec.json.decode(shell.call("usage", "--since", "2026-11-01", "--by", "day", "--json").out)
    assert day == {
        "day": "2026-11-21", "requests": 3, "failures": 1, "input_tokens": 10_020, "cache_creation_tokens": 9,
        "cache_read_tokens": 9, "output_tokens": 2_510, "thinking_tokens": 12, "cost_usd": "0.0225",
        "unpriced_requests": 1,
    }  # fmt: skip
    text = shell.call("usage", "--since", "2026-11-01", "--by", "tier,status", "--csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["tier"], row["status"], row["requests"]) for row in rows] == [
        ("haiku", "failed", "1"),
        ("haiku", "succeeded", "2"),
    ]


def test_usage_of_a_time_without_requests(shell: Shell) -> None:
    fill(shell)
    assert shell.call("usage", "--since", "2020-01-01", "--until", "2020-02-01").out == "No requests in that time.\n"
    assert shell.call("usage", "--since", "2020-01-01", "--until", "2020-02-01", "--json").out == "[]\n"


@pytest.mark.parametrize(("nano", "text"), [(0, "0"), (1, "0.000000001"), (22_500_000, "0.0225"), (3 * 10**9, "3")])
def test_exact_dollars(nano: int, text: str) -> None:
    assert render_exact_usd(nano) == text


def test_dollars_for_people() -> None:
    assert render_usd(1_234_567_890_000, 0, 5) == "$1,234.567890"
    assert render_usd(0, 5, 5) == "?"
    assert render_usd(1_000_000, 1, 5) == "$0.001000 + ?"


def test_limits_of_a_key(shell: Shell) -> None:
    made = shell.call(
        "keys", "create", "team", "--limit", "requests_per_minute=60", "--limit", "budget_usd_per_day=2.50"
    )
    assert made.code == 0
    assert "requests_per_minute=60 budget_usd_per_day=2.5" in shell.call("keys", "list").out
    changed = shell.call("keys", "limit", "team", "budget-usd-per-day=default", "concurrent_requests=none")
    assert changed.out == "requests_per_minute=60\nconcurrent_requests=none\n"
    assert shell.call("keys", "limit", "team").out == changed.out
    with open_database(shell.database_url) as database:
        assert database.keys.read()[0].limits == KeyLimits(requests_per_minute=60, concurrent_requests=None)
    shell.call("keys", "limit", "team", "requests_per_minute=default", "concurrent_requests=default")
    assert "[limits]" in shell.call("keys", "limit", "team").out
    refused = shell.call("keys", "limit", "team", "request_per_minute=1")
    assert refused.code == 2
    assert "budget_usd_per_month" in refused.err


@pytest.mark.parametrize(
    "change", ["requests_per_minute=0", "requests_per_minute=1.5", "budget_usd_per_day=-1", "budget_usd_per_day=nan",
               "budget_usd_per_day", "budget_usd_per_day=0.0000000001", "concurrent_requests=many"]
)  # fmt: skip
def test_what_is_no_limit_is_refused(change: str) -> None:
    with pytest.raises(typer.BadParameter):
        change_limits(KeyLimits(), [change])


def test_requests_one_by_one(shell: Shell) -> None:
    assert shell.call("requests").out == "No such requests yet.\n"
    shell.call("keys", "create", "web")
    with open_database(shell.database_url) as database:
        (key,) = database.keys.read()
        kept = replace(make_row("req_1"), key_id=key.key_id, cost_nano_usd=1_500_000, message_id="msg_1")
        lost = replace(make_row("req_2"), status="failed", error_type="overloaded_error", cost_nano_usd=None)
        database.ledger.write_rows([kept, lost])
    head, newest, oldest = shell.call("requests").out.splitlines()
    assert head.split()[:3] == ["time", "request", "key"]
    assert "req_2" in newest
    assert "overloaded_error" in newest
    assert " ? " in newest
    assert " web " in oldest
    assert "$0.001500" in oldest
    assert "req_2" not in shell.call("requests", "--key", "web").out
    assert "req_1" not in shell.call("requests", "--failed").out
    assert shell.call("requests", "--limit", "1").out.count("req_") == 1
    one = shell.call("requests", "msg_1").out
    assert re.search(r"^request +req_1$", one, re.MULTILINE)
    assert re.search(r"^attempt 1 +answer of ", one, re.MULTILINE)
    assert msgspec.json.decode(shell.call("requests", "req_1", "--json").out)["request_id"] == "req_1"
    for words, complaint in (
        (["req_9"], "no request or message has the id 'req_9'"),
        (["--key", "x"], "no key is called"),
    ):
        done = shell.call("requests", *words)
        assert (done.code, done.out) == (1, "")
        assert complaint in done.err
