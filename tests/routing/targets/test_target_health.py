"""Health against an oracle that keeps all that ever happened and says for each moment what must be true."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.config.health import HealthSettings, TargetSettings
from renga.routing.targets.target_health import SHARE_REQUESTS_MIN, TARGETS_MAX, HealthPermit, TargetHealth
from renga.testing.fake_clock import ToldClock

S = 1_000_000_000
RULES = HealthSettings(failures_to_cool=3, error_ratio_to_cool=0.6, cool_down_s=2, cool_down_max_s=10, half_life_s=20)
T = "vllm/a"


def build(limit: int | None = None) -> tuple[TargetHealth, ToldClock]:
    clock = ToldClock()
    return TargetHealth(RULES, {T: TargetSettings(concurrent_requests=limit)}, clock), clock


def fail(health: TargetHealth, times: int = 1) -> None:
    for _ in range(times):
        permission = health.enter(T)
        assert permission is not None
        permission.end(True, None)


def work(health: TargetHealth) -> None:
    permission = health.enter(T)
    assert permission is not None
    permission.end(False, 1_000)


def test_failures_in_a_row_cool_a_target_and_a_probe_brings_it_back() -> None:
    health, clock = build()
    fail(health, 2)
    work(health)
    fail(health, 3)
    assert health.enter(T) is None
    assert (health.refusal(T), health.weight(T)) == ("cooling", 0.0)
    clock.ns += 2 * S
    assert health.refusal(T) == ""
    probe = health.enter(T)
    assert probe is not None
    assert health.enter(T) is None, "one probe at a time"
    assert health.refusal(T) == "probing"
    probe.began(900)
    assert health.enter(T) is not None, "its first event is enough"


def test_cool_downs_grow_to_their_longest_and_start_anew_after_a_good_time() -> None:
    health, clock = build()
    fail(health, 3)
    lengths: list[float] = []
    for _ in range(4):
        left_s = health.describe()[0].cool_down_left_s
        lengths.append(left_s)
        clock.ns += int(left_s * S)
        fail(health)
    assert lengths == [2, 4, 8, 10]
    clock.ns += 10 * S
    work(health)
    fail(health, 3)
    assert health.describe()[0].cool_down_left_s == 10, "it had hardly come back"
    clock.ns += 10 * S
    work(health)
    clock.ns += 11 * S
    fail(health, 3)
    assert health.describe()[0].cool_down_left_s == 2


def test_a_probe_that_is_cancelled_leaves_the_door_open() -> None:
    health, clock = build()
    fail(health, 3)
    clock.ns += 2 * S
    probe = health.enter(T)
    assert probe is not None
    probe.end(False, None)
    assert health.enter(T) is not None


def test_a_limit_of_concurrent_requests_holds_for_last_resorts_too() -> None:
    health, _ = build(limit=2)
    first, second = health.enter(T), health.enter(T)
    assert first is not None and second is not None
    assert health.enter(T) is None and health.enter(T, anyway=True) is None
    assert health.refusal(T) == "busy"
    first.end(False, 10)
    first.end(False, 10)
    assert health.enter(T) is not None
    assert health.enter(T) is None, "ending twice gives one place back"


def test_a_limit_may_be_set_for_each_of_a_providers_targets() -> None:
    health = TargetHealth(RULES, {"vllm/*": TargetSettings(concurrent_requests=1)}, ToldClock())
    assert health.enter("vllm/b") is not None
    assert health.enter("vllm/b") is None
    assert health.enter("vllm/c") is not None
    assert health.enter("other/c") is not None


def test_a_last_resort_that_works_ends_the_cool_down() -> None:
    health, _ = build()
    fail(health, 3)
    tried = health.enter(T, anyway=True)
    assert tried is not None
    tried.end(True, None)
    assert health.describe()[0].cool_down_left_s == 2, "and one that fails does not lengthen it"
    tried = health.enter(T, anyway=True)
    assert tried is not None
    tried.end(False, 500)
    assert health.enter(T) is not None


def test_a_target_that_asks_for_patience_gets_it_within_the_longest_cool_down() -> None:
    for asked, expected in ((5.0, 5.0), (1.0, 2.0), (100.0, 10.0)):
        health, _ = build()
        permission = health.enter(T)
        assert permission is not None
        permission.end(True, None, asked)
        assert health.describe()[0].cool_down_left_s == expected


def test_many_failures_among_successes_cool_too() -> None:
    health, _ = build()
    steps = 0
    while health.refusal(T) == "":
        work(health) if steps % 3 == 0 else fail(health)
        steps += 1
        assert steps < 100
    assert steps >= SHARE_REQUESTS_MIN


def test_models_that_clients_invent_do_not_fill_the_memory() -> None:
    health, _ = build()
    fail(health, 3)
    held = health.enter("anthropic/held")
    for number in range(TARGETS_MAX + 10):
        permission = health.enter(f"anthropic/{number}")
        assert permission is not None
        permission.end(False, None)
    names = [state.target for state in health.describe()]
    assert len(names) == TARGETS_MAX
    assert T in names and "anthropic/held" in names and held is not None


@dataclass
class Oracle:
    """Written from the rules, with lists and without shared code: every question walks the whole history."""

    ended: list[tuple[int, bool]] = field(default_factory=list)
    """When each verdict came and whether it was a failure, since the target last came back."""
    cools: list[tuple[int, int]] = field(default_factory=list)
    """Every cool-down: from, until."""
    back_ns: int = 0
    state: str = "working"
    probe: int | None = None
    level: int = 0

    def may_enter(self, now: int) -> bool:
        return self.state == "working" or (self.state == "cooling" and now >= self.cools[-1][1])

    def entered(self, number: int, now: int, anyway: bool) -> str:
        if self.state == "working":
            return "plain"
        if anyway:
            return "anyway"
        self.state, self.probe = "probing", number
        return "probe"

    def ends(self, number: int, kind: str, verdict: str, now: int) -> None:
        if self.state == "working":
            if verdict != "left":
                self.ended.append((now, verdict == "failed"))
                row = 0
                for _, failed in reversed(self.ended):
                    if not failed:
                        break
                    row += 1
                weights = [(0.5 ** ((now - at) / S / 20), failed) for at, failed in self.ended]
                total = sum(weight for weight, _ in weights)
                share = sum(weight for weight, failed in weights if failed) / total
                if verdict == "failed" and (row >= 3 or (total >= 20 and share >= 0.6)):
                    last = min(10, 2 * 2**self.level)
                    grown = bool(self.cools) and (now - self.back_ns) / S < last
                    self.level = self.level + 1 if grown else 0
                    self.cool(now)
        elif kind == "anyway" and verdict == "worked":
            self.come_back(now)
        elif self.state == "probing" and self.probe == number:
            if verdict == "worked":
                self.come_back(now)
            elif verdict == "failed":
                self.level += 1
                self.cool(now)
            else:
                self.state = "cooling"

    def cool(self, now: int) -> None:
        self.state = "cooling"
        self.cools.append((now, now + min(10, 2 * 2**self.level) * S))

    def come_back(self, now: int) -> None:
        self.state, self.back_ns, self.ended = "working", now, []


VERDICTS = st.sampled_from(["worked", "failed", "failed", "left"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.booleans()),
        st.tuples(st.just("end"), st.tuples(st.integers(0, 5), VERDICTS)),
        st.tuples(st.just("burst"), st.lists(VERDICTS, min_size=10, max_size=15)),
        st.tuples(st.just("wait"), st.sampled_from([1, S // 2, 2 * S, 5 * S, 30 * S])),
    ),
    max_size=100,
)


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_health_is_what_the_oracle_says(steps: list[tuple[str, object]]) -> None:
    health, clock = build()
    oracle = Oracle()
    held: list[tuple[int, HealthPermit]] = []

    def enter(number: int, anyway: bool) -> None:
        permission = health.enter(T, anyway=anyway)
        assert (permission is not None) == (oracle.may_enter(clock.ns) or anyway)
        if permission is not None:
            held.append((number, permission))
            assert permission.kind == oracle.entered(number, clock.ns, anyway)

    def end(place: int, verdict: str) -> None:
        entered, permission = held.pop(place)
        oracle.ends(entered, permission.kind, verdict, clock.ns)
        permission.end(verdict == "failed", 1_000 if verdict == "worked" else None)

    for number, (what, detail) in enumerate(steps):
        if isinstance(detail, bool):
            enter(number, detail)
        elif isinstance(detail, int):
            clock.ns += detail
        elif isinstance(detail, list):
            for place, verdict in enumerate(detail):
                enter(number * 100 + place, place % 2 == 0)
                if held:
                    end(-1, verdict)
        elif isinstance(detail, tuple) and held:
            end(detail[0] % len(held), detail[1])
        assert (health.refusal(T) == "") == oracle.may_enter(clock.ns), what
        for state in health.describe():
            assert state.standing == oracle.state
            assert state.running == len(held)
            assert state.cool_downs == len(oracle.cools)


def test_rates_follow_what_happened_lately() -> None:
    health, clock = build()
    for first_us, failed in ((100_000, False), (300_000, True)):
        permission = health.enter(T)
        assert permission is not None
        permission.end(failed, first_us)
        clock.ns += 20 * S
    (state,) = health.describe()
    # The weights are 0.25 and 0.5: one and two half-lives old.
    assert state.error_ratio == pytest.approx(2 / 3)
    assert state.first_event_ms == pytest.approx((0.25 * 100 + 0.5 * 300) / 0.75)
    assert health.weight(T) == pytest.approx(1 - 0.5 / SHARE_REQUESTS_MIN)
    assert health.weight("never/asked") == 1.0
