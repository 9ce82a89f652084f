"""Shadow traffic from end to end: what is drawn, asked, compared and written, and what it never does."""

from __future__ import annotations

import pytest

from renga.domain.ledger import LedgerRow
from renga.domain.outcomes import OutcomeQuery, OutcomeRecord
from renga.store.database import Database
from renga.testing.servers.replayed_upstream import overloaded

POLICY = """
[policies.auto]
checks = ["structural", "agreement"]
shadow_share = 1.0
"""


def say(model: str, prompt: str) -> str:
    """The small model is wrong about what is hard, and unsure of what is doubtful."""
    if model == "large":
        return "The answer is 42."
    if "hard" in prompt:
        return "The answer is 41."
    if "doubtful" in prompt:
        say.count += 1
        return f"The answer is {say.count}."
    return "The answer is 42."


say.count = 0


async def settle(server, count: int) -> tuple[list[OutcomeRecord], list[LedgerRow]]:
    """Everything that runs in the background, and the rows once there are so many outcomes."""
    second = server.app._live.second
    await second.settle()
    with server.open_database() as database:

        def written() -> bool:
            # Costs are those of the ledger, whose rows are written by another job.
            return not second._parts.ledger.queued_rows and len(read(database)) >= count

        await server.until(written)
        return read(database), database.ledger.read_rows()


def read(database: Database) -> list[OutcomeRecord]:
    return database.outcomes.read(OutcomeQuery())


async def test_what_is_kept_is_answered_by_the_top_tier_too(live) -> None:
    async with live(say, POLICY) as server:
        easy, hard = await server.ask("an easy one"), await server.ask("a hard one")
        outcomes, rows = await settle(server, 2)
    assert [answer.headers["renga-target"] for answer in (easy, hard)] == ["up/small", "up/small"]
    assert [(each.label, each.scores) for each in outcomes] == [
        ("kept", {"haiku": 1.0, "opus": 1.0}),
        ("kept", {"haiku": 0.0, "opus": 1.0}),
    ]
    first = outcomes[0]
    assert first.request_id == easy.headers["request-id"]
    assert (first.policy, first.propensity, first.evidence["agreement"]) == ("auto", 1.0, 1.0)
    assert set(first.evidence) == {"agreement", "confidence", "triage"}
    by_surface = [(row.surface, row.key_id, row.target) for row in rows]
    assert by_surface.count(("shadow", "shadow", "up/large")) == 2
    live_rows = {row.request_id: row for row in rows if row.surface == "messages"}
    row = live_rows[first.request_id]
    assert row.kept is True and row.cost_nano_usd is not None and row.check_cost_nano_usd is not None
    assert first.costs_nano_usd["haiku"] == row.cost_nano_usd - row.check_cost_nano_usd
    assert first.check_nano_usd == row.check_cost_nano_usd
    shadow = next(row for row in rows if row.surface == "shadow")
    assert first.costs_nano_usd["opus"] == first.second_nano_usd == shadow.cost_nano_usd


async def test_what_was_escalated_needs_no_second_call(live) -> None:
    async with live(say, POLICY) as server:
        answer = await server.ask("a doubtful one")
        outcomes, rows = await settle(server, 1)
    assert answer.headers["renga-target"] == "up/large"
    (outcome,) = outcomes
    assert (outcome.label, outcome.scores["opus"], outcome.second_nano_usd) == ("escalated", 1.0, 0)
    assert outcome.scores["haiku"] == 0.0, "both answers are there to be compared"
    assert not [row for row in rows if row.surface == "shadow"]
    (row,) = rows
    assert row.kept is False
    assert sum(outcome.costs_nano_usd.values()) + (outcome.check_nano_usd or 0) == row.cost_nano_usd


async def test_a_floor_without_a_certificate_gets_its_labels_from_the_small_tier(live) -> None:
    async with live(say, POLICY + "floor_points = 2.0\n") as server:
        answers = [await server.ask("an easy one"), await server.ask("a hard one")]
        outcomes, _ = await settle(server, 2)
    assert {answer.headers["renga-target"] for answer in answers} == {"up/large"}
    assert [(each.label, each.scores["haiku"], each.evidence["agreement"]) for each in outcomes] == [
        ("escalated", 1.0, 1.0),
        ("escalated", 0.0, 1.0),
    ]
    assert all(set(each.costs_nano_usd) == {"haiku", "opus"} and each.check_nano_usd for each in outcomes)


async def test_texts_go_unjudged_without_a_judge(live) -> None:
    async with live(lambda model, prompt: "Well, it depends on a great many things.", POLICY) as server:
        await server.ask("what is a good life?")
        outcomes, _ = await settle(server, 1)
    assert [(each.label, each.scores) for each in outcomes] == [("unjudged", {})]


async def test_a_judge_grades_texts(live) -> None:
    def judged(model: str, prompt: str) -> str:
        if model == "judge":
            return "90" if "wisely" in prompt else "60"
        return "Live wisely, among friends, and so on." if model == "large" else "Live well, and do not ask why."

    config = POLICY + 'judge = "up/judge"\naccept_from = 0.5\n[prices."up/judge"]\ninput_usd = 1.0\noutput_usd = 1.0\n'
    async with live(judged, config) as server:
        await server.ask("what is a good life?")
        outcomes, _ = await settle(server, 1)
    assert [(each.label, each.scores) for each in outcomes] == [("kept", {"haiku": 0.6, "opus": 0.9})]


async def test_a_top_tier_that_fails_is_written_down_and_released(live) -> None:
    def failing(model: str, prompt: str):
        return overloaded() if model == "large" else "The answer is 42."

    async with live(failing, POLICY + "shadow_concurrent_requests = 1\n") as server:
        for _ in range(2):
            assert (await server.ask("an easy one")).status == 200
            outcomes, _ = await settle(server, 1)
        outcomes, _ = await settle(server, 2)
    assert [each.label for each in outcomes] == ["failed", "failed"]


async def test_a_days_dollars_are_not_overspent(live) -> None:
    # An answer of the large model to this costs about 0.25 thousandths of a dollar.
    async with live(say, POLICY + "shadow_usd_per_day = 0.0005\nshadow_concurrent_requests = 1\n") as server:
        second, (sampler,) = server.app._live.second, server.app._live.samplers
        for count in range(1, 9):
            before = sampler.spent_nano_usd
            if before >= 500_000:
                break
            await server.ask("an easy one")
            await settle(server, count)
            await server.until(lambda before=before: sampler.spent_nano_usd > before)
        asked = len([model for model, _ in server.upstream.asked if model == "large"])
        await server.ask("an easy one")
        await second.settle()
        assert len([model for model, _ in server.upstream.asked if model == "large"]) == asked
    assert 1 < asked < 8


@pytest.mark.parametrize("share", ["0.0", "1.0"])
async def test_a_share_of_nothing_draws_nothing(live, share: str) -> None:
    async with live(say, POLICY.replace("1.0", share)) as server:
        await server.ask("an easy one", model="haiku")
        await server.ask("an easy one")
        await server.app._live.second.settle()
        large = [model for model, _ in server.upstream.asked if model == "large"]
    assert len(large) == float(share), "and a tier that was asked for by name is nobody's policy"
