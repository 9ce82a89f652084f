"""The health of targets: who is asked, who is left alone for a while, and who may be tried again.

Owns: per target the rate of failures and the time to the first event, cool-downs, probes, the limit of concurrent
requests.
Must never know: how a request is sent, what counts as a failure (the path says so), what else a plan offers.
Invariants: a cooling target gets no request but one probe after its cool-down, and what is tried for want of another;
every Pass ends at most once in effect; no I/O and no waiting.

    working --(failures in a row, or their share)--> cooling --(time; one request enters)--> probing
       ^                                                |  ^                                   |   |
       +----------(a last resort worked)----------------+  +-----(failed: longer)--------------+   |
       +---------------------------------------(worked)--------------------------------------------+

Source: circuit breakers, Nygard, Release It!, 2007; five failures in a row as in Envoy's outlier detection
        (`consecutive_5xx`), https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from renga.clock import Clock
from renga.config.health import HealthSettings, TargetSettings

Standing: TypeAlias = Literal["working", "cooling", "probing"]
Happening: TypeAlias = Literal["tripped", "entered", "worked", "failed", "left"]
_Kind: TypeAlias = Literal["plain", "probe", "anyway"]

NEXT: Mapping[tuple[Standing, _Kind, Happening], Standing] = {
    ("working", "plain", "tripped"): "cooling",
    ("working", "anyway", "tripped"): "cooling",
    ("working", "probe", "tripped"): "cooling",
    ("cooling", "probe", "entered"): "probing",
    ("cooling", "anyway", "worked"): "working",
    ("probing", "anyway", "worked"): "working",
    ("probing", "probe", "worked"): "working",
    ("probing", "probe", "failed"): "cooling",
    ("probing", "probe", "left"): "cooling",
}
"""What is not here changes nothing: what began before a cool-down says nothing of what came after."""

SHARE_REQUESTS_MIN = 20.0
"""Requests, weighted by age, from which their share of failures counts."""
TARGETS_MAX = 1_000
"""Clients may name models; idle targets beyond this are forgotten, the longest unused first."""

_NANO = 1_000_000_000
_AGE_STEP_NS = 20_000_000


class TargetState(Struct, frozen=True):
    """How a target stands, for reports."""

    target: str
    standing: Standing
    error_ratio: float | None
    """Of recent requests, weighted by age; None where there were none."""
    first_event_ms: float | None
    """Mean time to the first event, weighted by age."""
    running: int
    """Requests that it has now."""
    concurrent_requests: int | None
    """The limit of that; None: none."""
    cool_down_left_s: float
    """0 where a request may enter."""
    cool_downs: int
    """Since the start."""


class HealthPermit:
    """Permission for one request to one target. End it once; what comes after the first end is ignored."""

    __slots__ = ("_ended", "_health", "first_event_us", "kind", "known")

    def __init__(self, health: TargetHealth, known: _TargetRecord, kind: _Kind) -> None:
        self.known = known
        """The target, which is not forgotten while it has a request."""
        self.kind: _Kind = kind
        self.first_event_us: int | None = None
        """As `began` was told."""
        self._health = health
        self._ended = False

    def began(self, first_event_us: int) -> None:
        """The first event is here: a probe has passed, though its answer may take long. Optional."""
        if not self._ended and self.first_event_us is None:
            self.first_event_us = first_event_us
            self._health.note_first(self, first_event_us)

    def end(self, failed: bool | None, first_event_us: int | None, retry_after_s: float | None = None) -> None:
        """The request is over.

        `failed`: the target's fault, so another try elsewhere may succeed. None, or False without a first event: it
        was cancelled, or refused for a fault of its own, and nothing is learned. `retry_after_s`: the target's own
        word for how long to leave it alone.
        """
        if self._ended:
            return
        if first_event_us is not None:
            self.began(first_event_us)
        self._ended = True
        self._health.note_end(self, failed, retry_after_s)


class _Rates:
    """Sums whose parts lose half of their weight in each half-life."""

    __slots__ = ("failures", "first_us", "firsts", "requests", "stamp_ns")

    def __init__(self, now_ns: int) -> None:
        self.stamp_ns = now_ns
        self.clear()

    def clear(self) -> None:
        self.requests = self.failures = self.firsts = self.first_us = 0.0

    def age(self, now_ns: int, half_life_s: float) -> None:
        if now_ns - self.stamp_ns < _AGE_STEP_NS:
            # Nothing that shows; the time stays on the account of the next look.
            return
        factor = 0.5 ** ((now_ns - self.stamp_ns) / (_NANO * half_life_s))
        self.stamp_ns = now_ns
        self.requests *= factor
        self.failures *= factor
        self.firsts *= factor
        self.first_us *= factor


class _TargetRecord:
    """What is known of one target."""

    def __init__(self, now_ns: int) -> None:
        self.standing: Standing = "working"
        self.rates = _Rates(now_ns)
        self.running = 0
        self.failures_in_row = 0
        self.level = 0
        """Cool-downs since it worked for long; each doubles the next."""
        self.cool_downs = 0
        self.cool_until_ns = now_ns
        self.working_since_ns = now_ns
        self.probe: HealthPermit | None = None


class TargetHealth:
    """Asked before every attempt, told after it. On the event loop's thread."""

    def __init__(self, rules: HealthSettings, targets: Mapping[str, TargetSettings], clock: Clock) -> None:
        self._rules = rules
        self._settings = targets
        self._clock = clock
        self._targets: OrderedDict[str, _TargetRecord] = OrderedDict()

    def enter(self, target: str, *, anyway: bool = False) -> HealthPermit | None:
        """Permission to send a request to a target; None while it cools down or has as many as it may.

        `anyway`: for want of another target a cooling one is tried. A limit of concurrent requests holds even then:
        where every target is `busy` (`refusal`), the request has to be refused as overloaded.
        Cost: about 1 us; with its end 2 us.
        """
        known = self._find(target)
        limit = self._limit(target)
        if limit is not None and known.running >= limit:
            return None
        kind: _Kind = "plain"
        if known.standing != "working":
            if anyway:
                kind = "anyway"
            elif known.standing == "cooling" and self._clock.monotonic_ns() >= known.cool_until_ns:
                kind = "probe"
            else:
                return None
        permission = HealthPermit(self, known, kind)
        known.running += 1
        if kind == "probe":
            known.standing = NEXT[known.standing, kind, "entered"]
            known.probe = permission
        return permission

    def refusal(self, target: str) -> str:
        """Why `enter` refuses: `busy`, `cooling`, `probing`; "" where it would not."""
        known = self._targets.get(target)
        if known is None:
            return ""
        limit = self._limit(target)
        if limit is not None and known.running >= limit:
            return "busy"
        if known.standing == "cooling" and self._clock.monotonic_ns() >= known.cool_until_ns:
            return ""
        return "" if known.standing == "working" else known.standing

    def weight(self, target: str) -> float:
        """How much of its normal share a target should get now, 0..1; 0 where `enter` would refuse."""
        if self.refusal(target):
            return 0.0
        known = self._targets.get(target)
        if known is None:
            return 1.0
        known.rates.age(self._clock.monotonic_ns(), self._rules.half_life_s)
        return 1.0 - known.rates.failures / max(known.rates.requests, SHARE_REQUESTS_MIN)

    def refused(self) -> dict[str, str]:
        """The targets that `enter` refuses now, and why."""
        return {name: why for name in sorted(self._targets) if (why := self.refusal(name))}

    def describe(self) -> tuple[TargetState, ...]:
        """Every target that was asked, by name."""
        return tuple(self._describe(name, known) for name, known in sorted(self._targets.items()))

    def _describe(self, name: str, known: _TargetRecord) -> TargetState:
        now_ns = self._clock.monotonic_ns()
        rates = known.rates
        rates.age(now_ns, self._rules.half_life_s)
        left_s = max(0.0, (known.cool_until_ns - now_ns) / _NANO) if known.standing == "cooling" else 0.0
        return TargetState(
            target=name,
            standing=known.standing,
            error_ratio=rates.failures / rates.requests if rates.requests else None,
            first_event_ms=rates.first_us / rates.firsts / 1000.0 if rates.firsts else None,
            running=known.running,
            concurrent_requests=self._limit(name),
            cool_down_left_s=left_s,
            cool_downs=known.cool_downs,
        )

    def note_first(self, permission: HealthPermit, first_event_us: int) -> None:
        """A pass's first event; `HealthPermit.began` calls it."""
        known = permission.known
        if permission.kind != "plain":
            self._happen(known, permission, "worked")
        known.rates.age(self._clock.monotonic_ns(), self._rules.half_life_s)
        known.rates.firsts += 1.0
        known.rates.first_us += first_event_us

    def note_end(self, permission: HealthPermit, failed: bool | None, retry_after_s: float | None) -> None:
        """A pass's end; `HealthPermit.end` calls it."""
        known = permission.known
        known.running -= 1
        happening: Happening = "failed" if failed else "worked"
        if not failed and (failed is None or permission.first_event_us is None):
            happening = "left"
        if happening != "left":
            known.rates.age(self._clock.monotonic_ns(), self._rules.half_life_s)
            known.rates.requests += 1.0
            known.rates.failures += happening == "failed"
        if happening != "left" and known.standing == "working":
            known.failures_in_row = known.failures_in_row + 1 if failed else 0
            if failed and (retry_after_s is not None or self._trips(known)):
                happening = "tripped"
        self._happen(known, permission, happening, retry_after_s or 0.0)
        if permission is known.probe:
            known.probe = None

    def _trips(self, known: _TargetRecord) -> bool:
        rules, rates = self._rules, known.rates
        share = rates.failures / rates.requests
        return known.failures_in_row >= rules.failures_to_cool or (
            rates.requests >= SHARE_REQUESTS_MIN and share >= rules.error_ratio_to_cool
        )

    def _happen(
        self, known: _TargetRecord, permission: HealthPermit, happening: Happening, asked_s: float = 0.0
    ) -> None:
        """Move the target to its next state, with the times that belong to it."""
        kind = permission.kind
        before = known.standing
        if before == "probing" and kind == "probe" and permission is not known.probe:
            return
        after = NEXT.get((before, kind, happening), before)
        if after == before:
            return
        now_ns = self._clock.monotonic_ns()
        known.standing = after
        if after == "working":
            known.rates.clear()
            known.failures_in_row = 0
            known.working_since_ns = now_ns
        elif happening != "left":
            self._cool(known, now_ns, asked_s, again=before == "probing")

    def _cool(self, known: _TargetRecord, now_ns: int, asked_s: float, *, again: bool) -> None:
        """Start a cool-down: the first one's length, doubled for each since it worked for as long as the last."""
        length_s = self._length_s(known.level)
        worked_s = (now_ns - known.working_since_ns) / _NANO
        if known.cool_downs and (again or worked_s < length_s):
            known.level += 1
        else:
            known.level = 0
        known.cool_downs += 1
        length_s = min(max(self._length_s(known.level), asked_s), self._rules.cool_down_max_s)
        known.cool_until_ns = now_ns + int(length_s * _NANO)

    def _length_s(self, level: int) -> float:
        return min(self._rules.cool_down_s * 2.0 ** min(level, 60), self._rules.cool_down_max_s)

    def _limit(self, target: str) -> int | None:
        if not self._settings:
            return None
        settings = self._settings.get(target) or self._settings.get(f"{target.partition('/')[0]}/*")
        return None if settings is None else settings.concurrent_requests

    def _find(self, target: str) -> _TargetRecord:
        known = self._targets.get(target)
        if known is None:
            if len(self._targets) >= TARGETS_MAX:
                self._forget()
            known = self._targets[target] = _TargetRecord(self._clock.monotonic_ns())
        self._targets.move_to_end(target)
        return known

    def _forget(self) -> None:
        for name, known in self._targets.items():
            if not known.running and not self.refusal(name):
                del self._targets[name]
                return
