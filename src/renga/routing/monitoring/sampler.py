"""Which requests are sampled to be answered twice, and how much that may cost.

Owns: the sampling, a day's dollars, the number of sampled requests at a time.
Must never know: how a second answer is fetched, what it shows.
Invariants: a request is sampled before anything is known of its answer, so that the sample is like everything else;
whether there is money and room is asked before the chance is looked at, for the same reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import SystemRandom

from msgspec import Struct

from renga.clock import Clock
from renga.domain.outcomes import OutcomeRecord, Source

_log = logging.getLogger("renga.routing")

_DAY_US = 86_400_000_000
_NANO = 1_000_000_000
_random = SystemRandom().random


class SamplerTerms(Struct, frozen=True):
    """Which share of requests a sampler takes, and what that may cost."""

    source: Source
    subject: str
    """The policy, or a canary's target."""
    small: str
    """Whose answers may be worse, as scores and costs name it."""
    top: str
    share: float
    usd_per_day: float
    concurrent_requests: int
    digest: str = ""
    """Of the guarantee that the labels are for."""
    floor_points: float | None = None


class Sampler:
    """One stream of sampled requests. `sample` and `release` on the event loop; `note_spent` on the store thread."""

    def __init__(self, terms: SamplerTerms, clock: Clock, random: Callable[[], float] = _random) -> None:
        self.terms = terms
        self._clock = clock
        self._random = random
        self._running = 0
        self._day = -1
        self._spent_nano_usd = 0
        self._unpriced = False

    @property
    def running(self) -> int:
        """How many sampled requests have not ended."""
        return self._running

    @property
    def spent_nano_usd(self) -> int:
        """What second answers have cost today (UTC)."""
        return self._spent_nano_usd if self._day == self._today() else 0

    def sample(self) -> bool:
        """Whether this request is sampled. One that is must be released. Cost: 1 us."""
        terms = self.terms
        if not terms.share or self._running >= terms.concurrent_requests or self._unpriced:
            return False
        if self.spent_nano_usd >= terms.usd_per_day * _NANO or self._random() >= terms.share:
            return False
        self._running += 1
        return True

    def release(self) -> None:
        """Note that a sampled request has ended."""
        self._running -= 1

    def note_spent(self, record: OutcomeRecord) -> None:
        """Count what a sampled request's second answer cost, whichever process asked for it."""
        day = record.time_us // _DAY_US
        if day != self._today():
            return
        if self._day != day:
            self._day, self._spent_nano_usd = day, 0
        cost = record.second_nano_usd
        if cost is not None:
            self._spent_nano_usd += cost
        elif not self._unpriced:
            self._unpriced = True
            _log.error(
                "%s: nothing more is drawn, for the price of its second answers is not known; write it under [prices]",
                self.terms.subject,
            )

    def _today(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000) // _DAY_US
