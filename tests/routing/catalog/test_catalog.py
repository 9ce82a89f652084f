"""Names mean tiers and targets, in every spelling that clients use."""

import pytest

from renga.errors import ConfigError, NotFound
from renga.models.providers.provider_seam import Capabilities, ProviderHealth, Target
from renga.routing.catalog.catalog import Catalog, normalize_name


class Idle:
    """A provider that answers questions about itself and nothing else."""

    def __init__(self, health: ProviderHealth | None = None) -> None:
        self._health = health or ProviderHealth(True)

    def health(self, model: str = "") -> ProviderHealth:
        return self._health

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(max_input_tokens=1000, max_output_tokens=100, tools=True)


def catalog(**providers: Idle) -> Catalog:
    return Catalog(
        {
            "haiku": (Target("local", "hokku"),),
            "sonnet": (Target("anthropic", "*"),) if "anthropic" in providers else (),
            "opus": (Target("anthropic", "claude-opus-5-5"),) if "anthropic" in providers else (),
        },
        {"local": Idle(), **providers},  # type: ignore[dict-item]
        ("hokku",),
    )


@pytest.mark.parametrize(
    ("name", "tier", "echo"),
    [
        ("haiku", "haiku", "haiku"),
        ("claude-haiku-5-5", "haiku", "claude-haiku-5-5"),
        ("claude-haiku-4-5", "haiku", "claude-haiku-4-5-20251001"),
        ("claude-haiku-4-5-20251001", "haiku", "claude-haiku-4-5-20251001"),
        ("claude-haiku-4-5@20251001", "haiku", "claude-haiku-4-5-20251001"),
        ("claude-haiku-latest", "haiku", "claude-haiku-5-5"),
        ("claude-3-5-haiku-20241022", "haiku", "claude-3-5-haiku-20241022"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "haiku", "claude-haiku-4-5-20251001"),
        ("anthropic.claude-sonnet-5-5", "sonnet", "claude-sonnet-5-5"),
        (
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-opus-4-5-20251101-v1:0",
            "opus",
            "claude-opus-4-5-20251101",
        ),
    ],
)
def test_official_names_resolve_to_tiers(name: str, tier: str, echo: str) -> None:
    named = catalog().resolve(name)
    assert (named.tier, named.answered_as) == (tier, echo)


def test_a_target_can_be_named() -> None:
    assert catalog().resolve("local/hokku").target == Target("local", "hokku")
    assert catalog().resolve("hokku").target == Target("local", "hokku")
    assert catalog(anthropic=Idle()).resolve("anthropic/claude-opus-4-8").target == Target(
        "anthropic", "claude-opus-4-8"
    )


@pytest.mark.parametrize("name", ["", "gpt-4o", "local/other", "elsewhere/model", "claude-unknown-1", "/"])
def test_unknown_names_are_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        catalog().resolve(name)


def test_a_star_takes_the_id_that_was_asked_for() -> None:
    offered = catalog(anthropic=Idle())
    assert offered.tier_targets("sonnet", "claude-sonnet-4-6") == (Target("anthropic", "claude-sonnet-4-6"),)
    assert offered.tier_targets("sonnet", "sonnet") == (Target("anthropic", "claude-sonnet-5-5"),)


def test_a_tier_without_a_working_target_says_so() -> None:
    opus = catalog().find("opus")
    assert opus is not None
    assert not opus.working
    assert "ANTHROPIC_API_KEY" in opus.detail
    down = catalog(anthropic=Idle(ProviderHealth(False, "no key"))).find("claude-opus-5-5")
    assert down is not None
    assert not down.working
    assert "no key" in down.detail


def test_every_listed_id_can_be_found_and_ids_are_unique() -> None:
    offered = catalog(anthropic=Idle())
    ids = [entry.id for entry in offered.entries()]
    assert len(ids) == len(set(ids))
    for entry_id in ids:
        found = offered.find(entry_id)
        assert found is not None
        assert found.id == entry_id


def test_a_tier_with_an_unknown_provider_is_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="provider"):
        Catalog({"haiku": (Target("nowhere", "x"),)}, {}, ())


def test_names_of_other_clouds_are_only_respelled() -> None:
    assert normalize_name("gpt-4o") == "gpt-4o"
    assert normalize_name("vllm/claude-like") == "vllm/claude-like"
