"""A plan: the ordered attempts for a request, what must happen to their answers, and why. Pure values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from renga.domain.reasons import Reasons
from renga.models.providers.provider_seam import Target, Tier

if TYPE_CHECKING:
    # It needs numpy, which a server imports beside its start.
    from renga.routing.checks.answer_checks import CheckPolicy


class Verification(Struct, frozen=True):
    """What an answer must pass before the client sees it."""

    policy: CheckPolicy
    second: Target | None
    """Whom to ask for second opinions; None: whoever gave the first answer."""
    judge: Target | None
    timeout_s: float
    """For each second answer and judgement."""
    optimistic: bool = False
    """A stream is sent at once, and checked when it has ended."""
    shows_failed_answer: bool = False
    """The tier above sees the answer that was not accepted."""


class PlannedAttempt(Struct, frozen=True):
    """One planned try of one target, with the check that follows it."""

    target: Target
    tier: Tier | None
    """None when the client named the target itself."""
    check: Verification | None = None
    """None: its answer is sent on as it comes."""


class Plan(Struct, frozen=True):
    """Which targets answer a request, in which order, and how that was decided."""

    attempts: tuple[PlannedAttempt, ...]
    reasons: Reasons
    """Why these; the path adds what became of them."""
    answered_as: str
    """What the client finds in `message.model`; "" for the name of whichever target answers."""
    policy: str | None = None
    """None where the client chose a tier or a target itself."""
    small: Tier | None = None
    """The tier whose answers are kept or not."""
    triage_score: float | None = None
    conversation: str = ""
    """Known where a policy decides."""
    expected_nano_usd: int | None = None
    """Of the whole climb; None where a price is not known or no policy decides."""
    top_nano_usd: int | None = None
    """Of asking the top tier at once."""
    last_resort: bool = True
    """Whether an answer that was not accepted is sent when no tier above can be reached. Never one with a fault."""

    @property
    def also_billed(self) -> tuple[str, ...]:
        """Targets that may have to be paid besides the one that answers."""
        names: list[str] = []
        for attempt in self.attempts:
            check = attempt.check
            if check is not None:
                names.append(attempt.target.name)
                if "agreement" in check.policy.checks:
                    names += [(check.second or attempt.target).name] * check.policy.seconds_max
                if check.judge is not None:
                    names.append(check.judge.name)
        return tuple(names)
