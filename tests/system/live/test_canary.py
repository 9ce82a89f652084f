"""A candidate beside its incumbent on a running server: drawn, paired, rolled back or proven, never promoted."""

from __future__ import annotations

import pytest

from renga.domain.outcomes import OutcomeQuery
from renga.errors import ConfigError
from renga.testing.servers.replayed_upstream import overloaded

CANARY = """
[canaries."up/new"]
tier = "haiku"
share = 1.0
floor_points = {floor}

[prices."up/new"]
input_usd = 1.0
output_usd = 5.0
"""


def says(new: object, old: object = "The answer is 42."):
    return lambda model, prompt: new if model == "new" else old


async def read(server, count: int):
    await server.app._live.second.settle()
    with server.open_database() as database:
        await server.until(lambda: len(database.outcomes.read(OutcomeQuery(("canary",)))) >= count)
        return database.outcomes.read(OutcomeQuery(("canary",)))


async def test_a_candidate_that_is_worse_is_rolled_back(live) -> None:
    async with live(says("The answer is 41."), CANARY.format(floor=5)) as server:
        first = await server.ask("6 x 7?", model="haiku")
        assert first.headers["renga-target"] == "up/new"
        assert first.headers["renga-plan"] == "tier:haiku;canary:up/new"
        (record,) = await read(server, 1)
        assert (record.policy, record.scores) == ("up/new", {"up/new": 0.0, "up/small": 1.0})
        assert (record.propensity, record.label) == (1.0, "kept")
        asked = 1
        while (await server.ask(f"{asked} x 7?", model="haiku")).headers["renga-target"] == "up/new":
            asked += 1
            await read(server, asked)
            assert asked < 100
        guard = server.app._live.guard
        await server.until(lambda: any(each.broken_us is not None for each in guard.readings()))
        (reading,) = guard.readings()
        assert reading.broken_us is not None and not reading.is_proven
        metrics = (await server.send("GET", "/metrics")).body.decode()
        assert 'renga_canary_broken{target="up/new"} 1.0' in metrics


async def test_a_candidate_that_is_as_good_is_reported_and_stays_a_candidate(live) -> None:
    async with live(says("It is 42."), CANARY.format(floor=80)) as server:
        for number in range(24):
            await server.ask(f"{number} x 7?", model="haiku")
        await read(server, 24)
        guard = server.app._live.guard
        await server.until(lambda: [each.labels for each in guard.readings()] == [24])
        (reading,) = guard.readings()
        assert reading.is_proven and reading.loss_points == 0.0
        assert (await server.ask("6 x 7?", model="haiku")).headers["renga-target"] == "up/new"


async def test_a_failure_of_the_candidate_is_a_loss_and_the_client_does_not_notice(live) -> None:
    async with live(says(overloaded()), CANARY.format(floor=5)) as server:
        answer = await server.ask("6 x 7?", model="haiku")
        assert (answer.status, answer.headers["renga-target"]) == (200, "up/small")
        (record,) = await read(server, 1)
    assert (record.scores, record.second_nano_usd) == ({"up/new": 0.0, "up/small": 1.0}, 0)


async def test_a_candidate_under_a_policy_is_compared_by_what_it_said(live) -> None:
    count = 0

    def doubtful(model: str, prompt: str) -> str:
        nonlocal count
        count += 1
        return f"The answer is {count}." if model == "new" else "The answer is 42."

    async with live(doubtful, CANARY.format(floor=5)) as server:
        answer = await server.ask("6 x 7?")
        assert answer.headers["renga-target"] == "up/large"
        assert ";canary:up/new;" in answer.headers["renga-plan"]
        (record,) = await read(server, 1)
    assert record.scores == {"up/new": 0.0, "up/small": 1.0}


async def test_a_canary_without_an_incumbent_is_refused_at_start(live) -> None:
    with pytest.raises(ConfigError, match="no other target to compare it with"):
        async with live(says("x"), CANARY.format(floor=5).replace('"haiku"', '"sonnet"')):
            pass
