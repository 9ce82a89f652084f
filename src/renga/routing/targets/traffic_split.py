"""Sharing a tier's requests: weights among its targets, and canaries beside them.

Owns: which target of a tier is tried first for a conversation.
Must never know: requests, providers, what became of earlier ones.
Invariants: a conversation stays with its target as long as shares and health allow, in every process; a change of
weights moves only as many conversations as it must; a canary that was rolled back gets nothing.

Source: weighted rendezvous hashing, Wang and Ravishankar 1998; Schindelhauer and Schomaker 2005, section 3.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from renga.config.canaries import CanarySettings
from renga.config.health import TargetSettings
from renga.models.providers.provider_seam import Target, Tier
from renga.routing.catalog.catalog import parse_target


class Canary:
    """A candidate, and whether it was rolled back."""

    def __init__(self, target: Target, settings: CanarySettings) -> None:
        self.target = target
        self.settings = settings
        self.rolled_back: str | None = None
        """Why, in one word; None: it was not."""

    @property
    def digest(self) -> str:
        """The digest of the trial's settings: with other settings a new trial begins."""
        settings = self.settings
        text = f"{settings.tier} {settings.floor_points} {settings.confidence} {settings.share}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class ArrangedTargets(Struct, frozen=True):
    """A tier's targets in the order to try them."""

    targets: tuple[Target, ...]
    canary: Target | None = None
    """The candidate that was drawn, where one was."""


class TrafficSplit:
    """Weights and canaries of all tiers."""

    def __init__(
        self,
        targets: Mapping[str, TargetSettings],
        canaries: Mapping[str, CanarySettings],
        health_weight: Callable[[str], float],
    ) -> None:
        """`health_weight`: 0 for a target that would refuse now, 1 for one in full health."""
        self._targets = targets
        self.canaries = tuple(Canary(parse_target(name), settings) for name, settings in canaries.items())
        self._health_weight = health_weight
        self.is_needed = bool(canaries) or any(settings.weight is not None for settings in targets.values())
        """Whether anything is shared at all."""

    def arrange(self, tier: Tier, targets: Sequence[Target], conversation: str) -> ArrangedTargets:
        """The targets of a tier for a conversation. Cost: 3 us a target with a weight."""
        order = self._by_weight(targets, conversation)
        for canary in self.canaries:
            if canary.settings.tier == tier and self._is_drawn(canary, conversation):
                rest = tuple(target for target in order if target != canary.target)
                return ArrangedTargets((canary.target, *rest), canary.target)
        return ArrangedTargets(order)

    def _is_drawn(self, canary: Canary, conversation: str) -> bool:
        name = canary.target.name
        if canary.rolled_back is not None or _draw(conversation, f"canary {name}") >= canary.settings.share:
            return False
        return self._health_weight(name) > 0.0

    def _by_weight(self, targets: Sequence[Target], conversation: str) -> tuple[Target, ...]:
        """Those with a weight first, in an order that hangs on the conversation; the others behind, as they stand."""
        weighted: list[tuple[float, Target]] = []
        others: list[Target] = []
        for target in targets:
            weight = self._weight(target.name)
            if weight is None:
                others.append(target)
                continue
            share = weight * self._health_weight(target.name)
            draw = _draw(conversation, target.name)
            weighted.append((-math.log(max(draw, 1e-300)) / share if share > 0.0 else math.inf, target))
        return (*(target for _, target in sorted(weighted, key=lambda each: each[0])), *others)

    def _weight(self, name: str) -> float | None:
        settings = self._targets.get(name) or self._targets.get(f"{name.partition('/')[0]}/*")
        return None if settings is None else settings.weight


def _draw(conversation: str, name: str) -> float:
    """A number from 0 to 1 that is the same for the same conversation and name."""
    digest = hashlib.blake2b(f"{name}\0{conversation}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
