"""Sharing a tier's requests: shares are kept, conversations stay, a change moves few of them."""

from __future__ import annotations

from collections import Counter

from renga.config.canaries import CanarySettings
from renga.config.health import TargetSettings
from renga.models.providers.provider_seam import Target
from renga.routing.targets.traffic_split import TrafficSplit

A, B, C = Target("vllm", "a"), Target("vllm", "b"), Target("vllm", "c")
TALKS = [f"key\0system\0question {number}" for number in range(2_000)]


def weigh(**weights: float) -> dict[str, TargetSettings]:
    return {f"vllm/{name}": TargetSettings(weight=weight) for name, weight in weights.items()}


def well(target: str) -> float:
    return 1.0


def firsts(shares: TrafficSplit, targets: tuple[Target, ...] = (A, B, C)) -> list[str]:
    return [shares.arrange("haiku", targets, talk).targets[0].model for talk in TALKS]


def test_without_weights_targets_stand_in_order() -> None:
    shares = TrafficSplit({}, {}, well)
    assert not shares.is_needed
    assert shares.arrange("haiku", (B, A), "x").targets == (B, A)


def test_weights_share_conversations_and_keep_them() -> None:
    shares = TrafficSplit(weigh(a=3.0, b=1.0), {}, well)
    found = firsts(shares)
    counts = Counter(found)
    assert abs(counts["a"] / len(TALKS) - 0.75) < 0.04 and counts["c"] == 0
    assert found == firsts(TrafficSplit(weigh(a=3.0, b=1.0), {}, well)), "in every process"
    assert {shares.arrange("haiku", (A, B, C), talk).targets[2] for talk in TALKS} == {C}


def test_a_changed_weight_moves_only_what_it_must() -> None:
    before = firsts(TrafficSplit(weigh(a=1.0, b=1.0, c=1.0), {}, well))
    after = firsts(TrafficSplit(weigh(a=1.0, b=1.0, c=2.0), {}, well))
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"c"}
    assert 0.1 < len(moved) / len(TALKS) < 0.25


def test_a_target_in_bad_health_gets_less_and_one_that_refuses_nothing() -> None:
    health = {"vllm/a": 0.0, "vllm/b": 0.5, "vllm/c": 1.0}
    counts = Counter(firsts(TrafficSplit(weigh(a=1.0, b=1.0, c=1.0), {}, health.__getitem__)))
    assert counts["a"] == 0 and abs(counts["b"] / len(TALKS) - 1 / 3) < 0.05
    order = TrafficSplit(weigh(a=1.0, b=0.0), {}, well).arrange("haiku", (B, A), "x").targets
    assert order == (A, B), "a weight of nothing is for when nothing else works"


def test_a_canary_gets_its_share_of_its_tier_and_is_named() -> None:
    shares = TrafficSplit({}, {"vllm/c": CanarySettings(tier="haiku", share=0.2)}, well)
    arranged = [shares.arrange("haiku", (A, B), talk) for talk in TALKS]
    drawn = [each for each in arranged if each.canary]
    assert abs(len(drawn) / len(TALKS) - 0.2) < 0.03
    assert {(each.targets, each.canary) for each in drawn} == {((C, A, B), C)}
    assert {each.targets for each in arranged if not each.canary} == {(A, B)}
    assert all(not shares.arrange("opus", (A, B), talk).canary for talk in TALKS)
    shares.canaries[0].rolled_back = "floor_broken"
    assert all(not shares.arrange("haiku", (A, B), talk).canary for talk in TALKS)


def test_a_canary_in_bad_health_or_already_in_its_tier_is_there_once() -> None:
    settings = {"vllm/b": CanarySettings(tier="haiku", share=1.0)}
    assert TrafficSplit({}, settings, well).arrange("haiku", (A, B), "x").targets == (B, A)
    assert TrafficSplit({}, settings, lambda name: 0.0).arrange("haiku", (A, B), "x").targets == (A, B)


def test_other_settings_are_another_trial() -> None:
    seals = {
        TrafficSplit({}, {"vllm/c": CanarySettings(tier="haiku", floor_points=points)}, well).canaries[0].digest
        for points in (1.0, 1.0, 2.0)
    }
    assert len(seals) == 2
