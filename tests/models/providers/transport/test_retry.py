"""What is worth another try, and after how long."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from renga.errors import ApiError, InvalidRequest, RengaError, UpstreamTimedOut, error_for_status
from renga.models.providers.transport.retry import (
    RetryPolicy,
    UpstreamRefusal,
    plan_wait,
    read_retry_after,
    with_retries,
)
from renga.models.providers.transport.upstream_client import UpstreamLost, UpstreamUnreachable
from renga.testing.fake_clock import ToldClock

NOW = ToldClock().now()


def policy(max_retries: int = 2, random: float = 0.0) -> RetryPolicy:
    return RetryPolicy(max_retries, ToldClock(), lambda: random)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599, None])
def test_what_is_retried(status: int | None):
    assert plan_wait(status, {}, 0, policy()) == 0.5


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 413, 422])
def test_what_is_not_retried(status: int):
    assert plan_wait(status, {}, 0, policy()) is None


@pytest.mark.parametrize(
    ("status", "word", "retried"),
    [(400, "true", True), (500, "false", False), (None, "false", False), (500, "perhaps", True), (404, " True ", True)],
)
def test_the_upstream_has_the_last_word(status: int | None, word: str, retried: bool):
    assert (plan_wait(status, {"x-should-retry": word}, 0, policy()) is not None) == retried


def test_waits_double_up_to_a_cap_and_are_shortened_by_jitter():
    waits = [plan_wait(500, {}, tried, policy(max_retries=10)) for tried in range(6)]
    assert waits == [0.5, 1, 2, 4, 8, 8]
    assert plan_wait(500, {}, 1, policy(random=1.0)) == 0.75


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:07 GMT"}, 7.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf", "retry-after": "2"}, 2.0),
        ({}, None),
    ],
)
def test_reading_retry_after(headers: Mapping[str, str], wait_s: float | None):
    assert read_retry_after(headers, NOW) == wait_s


def test_a_long_retry_after_is_not_waited_for():
    assert plan_wait(429, {"retry-after": "30"}, 0, policy()) == 30
    assert plan_wait(429, {"retry-after": "31"}, 0, policy()) is None


class Failing:
    """An attempt that fails as it is told, and then succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.tried = 0

    async def __call__(self) -> str:
        self.tried += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def refusal(status: int, headers: Mapping[str, str] | None = None) -> UpstreamRefusal:
    return UpstreamRefusal(error_for_status(status)(f"status {status}"), status, headers or {})


async def test_it_is_tried_until_it_succeeds():
    attempt = Failing(refusal(529), UpstreamLost("gone"))
    rules = policy()
    assert await with_retries(attempt, rules) == "done"
    assert attempt.tried == 3
    assert isinstance(rules.clock, ToldClock)
    assert rules.clock.slept_s == [0.5, 1.0]


@pytest.mark.parametrize("max_retries", [0, 1, 5])
async def test_the_last_error_is_the_one_that_is_raised(max_retries: int):
    attempt = Failing(*[refusal(500) for _ in range(max_retries)], UpstreamUnreachable("last"), refusal(500))
    with pytest.raises(UpstreamUnreachable):
        await with_retries(attempt, policy(max_retries))
    assert attempt.tried == max_retries + 1


@pytest.mark.parametrize("failure", [UpstreamTimedOut("silent"), ApiError("odd"), InvalidRequest("wrong")])
async def test_other_errors_are_not_retried(failure: RengaError):
    attempt = Failing(failure)
    with pytest.raises(type(failure)):
        await with_retries(attempt, policy())
    assert attempt.tried == 1
