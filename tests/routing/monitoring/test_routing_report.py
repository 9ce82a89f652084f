"""The report's figures on rows that are known to the last one."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from renga.domain.outcomes import RoutedRow
from renga.domain.reasons import Reason, render_reasons
from renga.routing.monitoring.routing_report import PAIRS_MIN, PolicySummary, ReportMaterial, compose_report
from renga.testing.suites.outcome_suite import make_outcome

POLICY = PolicySummary("auto", "haiku", "opus", "up/opus", None, "uncertified", None, 0.0, 0, 1.0)
KEPT = RoutedRow(
    "req_0", 1, "auto", "haiku", "up/haiku", "policy:auto;triage:verify;check:agreement:number=1.00;kept", True, None,
    "succeeded", 80, 0, 0, 0, 20, 1_100, 100, 50_000,
)  # fmt: skip
UP = replace(
    KEPT, tier="opus", target="up/opus", kept=False, escalated_because="structural:refusal", cost_nano_usd=21_000,
    check_cost_nano_usd=1_000, why="policy:auto;triage:verify;check:structural:refusal;escalated:structural:refusal",
)  # fmt: skip


def report(rows: list[RoutedRow], **fields: object):
    material = ReportMaterial(0, 10, rows, (), (POLICY,), (), (), lambda target, row: 20_000)
    return compose_report(replace(material, **fields))


def test_what_was_kept_and_saved() -> None:
    rows = [replace(KEPT if n % 4 else UP, request_id=f"req_{n}", first_event_us=1_000 * (n + 1)) for n in range(100)]
    (found,) = report(rows).policies
    assert (found.requests, found.kept, found.kept_share, found.failed) == (100, 75, 0.75, 0)
    assert found.escalations == {"structural:refusal": 25}
    saving = found.saving
    assert saving is not None
    assert (saving.spent_nano_usd, saving.top_nano_usd) == (75 * 1_100 + 25 * 21_000, 100 * 20_000)
    assert saving.share == pytest.approx(1 - (75 * 1_100 + 25 * 21_000) / 2_000_000)
    assert saving.low < saving.share < saving.high
    up = found.latency["escalated"]
    assert (up.requests, up.p50_ms, up.p99_ms) == (25, 49.0, 97.0)
    assert found.latency["verified"].requests == 75 and found.latency["kept"].requests == 0


def test_the_interval_holds_in_nine_of_ten_draws() -> None:
    held, draws = 0, 200
    for seed in range(draws):
        draw = random.Random(seed).random
        rows = [replace(KEPT if draw() < 0.7 else UP, request_id=f"req_{n}") for n in range(200)]
        saving = report(rows).policies[0].saving
        assert saving is not None
        held += saving.low <= 1 - (0.7 * 1_100 + 0.3 * 21_000) / 20_000 <= saving.high
    assert 0.84 <= held / draws <= 0.96


def test_shadow_answers_correct_the_price_of_what_was_kept() -> None:
    rows = [replace(KEPT, request_id=f"req_{n}") for n in range(100)]
    pairs = [
        replace(make_outcome(f"req_{n}"), costs_nano_usd={"opus": 30_000 if n % 2 else 50_000})
        for n in range(PAIRS_MIN)
    ]
    saving = report(rows, outcomes=pairs).policies[0].saving
    assert saving is not None
    assert (saving.price_ratio, saving.price_ratio_pairs, saving.top_nano_usd) == (2.0, PAIRS_MIN, 4_000_000)
    assert saving.low < saving.share < saving.high, "the correction has an error of its own"
    few = report(rows, outcomes=pairs[1:]).policies[0].saving
    assert few is not None and (few.price_ratio, few.price_ratio_pairs) == (1.0, 0)


def test_what_nobody_answered_or_priced_is_counted_apart() -> None:
    rows = [
        KEPT,
        replace(KEPT, request_id="a", kept=None, status="failed"),
        replace(KEPT, request_id="b", status="canceled"),
        replace(KEPT, request_id="c", cost_nano_usd=None, check_cost_nano_usd=None),
        replace(UP, request_id="d", tier="haiku", target="up/haiku", why=UP.why + ";last_resort"),
    ]
    (found,) = report(rows).policies
    assert (found.requests, found.failed, found.kept, found.unpriced) == (5, 2, 2, 1)
    assert found.latency["last_resort"].requests == 1


@pytest.mark.parametrize("name", ["last_resort", "kept", "structural", "cache", "check", "a;last_resort"])
def test_a_policy_that_is_called_like_a_reason_is_not_reported_as_one(name: str) -> None:
    named = Reason("policy", name)
    kept = replace(KEPT, policy=name, why=render_reasons((named, Reason("triage", "haiku"), Reason("kept"))))
    up = replace(UP, policy=name, why=render_reasons((named, Reason("up", "no_certificate"))))
    (found,) = report([kept, up], policies=(replace(POLICY, name=name),)).policies
    assert {path: latency.requests for path, latency in found.latency.items()} == {
        "kept": 1,
        "verified": 0,
        "escalated": 1,
        "last_resort": 0,
    }


def test_a_policy_that_is_gone_is_still_counted_and_no_requests_are_no_error() -> None:
    found = report([replace(KEPT, policy="old")]).policies
    assert [(each.policy.name, each.policy.state, each.requests) for each in found] == [
        ("auto", "uncertified", 0),
        ("old", "gone", 1),
    ]
    assert found[0].kept_share is None and found[0].saving is None
    assert found[1].saving is None and found[1].unpriced == 1
