"""Names that clients use, and the tiers and targets that they mean.

Owns: the table of official model ids, the spellings of other clouds, and the catalog of what this server offers.
Must never know: requests, prices, health over time.
Invariant: a name means the same in every request until the configuration changes.

Source: docs/reference/messages-api.md, "Model ids and prices" and "Other clouds".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import replace

from renga.errors import ConfigError, NotFound
from renga.models.providers.provider_seam import Capabilities, Provider, Target, Tier

Lifecycle: TypeAlias = Literal["active", "deprecated", "retired"]
Line: TypeAlias = Literal["haiku", "sonnet", "opus", "fable", "mythos"]

NAMES_MAX = 1_024
"""Names whose meaning is remembered: clients may write any."""

TIERS: tuple[Tier, ...] = get_args(Tier)
_TIERS: dict[str, Tier] = {tier: tier for tier in TIERS}
"""Also the lines of official models that are tiers."""


class OfficialModel(Struct, frozen=True):
    """One id of the official list."""

    id: str
    line: Line
    display_name: str
    created_on: str = "1970-01-01"
    """The epoch where the day of release is not known, as the API itself does."""
    lifecycle: Lifecycle = "active"
    aliases: tuple[str, ...] = ()


OFFICIAL_MODELS: tuple[OfficialModel, ...] = (
    OfficialModel("claude-haiku-5-5", "haiku", "Claude Haiku 5.5", "2026-10-07"),
    OfficialModel("claude-sonnet-5-5", "sonnet", "Claude Sonnet 5.5"),
    OfficialModel("claude-opus-5-5", "opus", "Claude Opus 5.5"),
    OfficialModel("claude-sonnet-5", "sonnet", "Claude Sonnet 5"),
    OfficialModel("claude-opus-5", "opus", "Claude Opus 5"),
    OfficialModel("claude-opus-4-8", "opus", "Claude Opus 4.8"),
    OfficialModel("claude-opus-4-7", "opus", "Claude Opus 4.7"),
    OfficialModel("claude-opus-4-6", "opus", "Claude Opus 4.6"),
    OfficialModel("claude-sonnet-4-6", "sonnet", "Claude Sonnet 4.6"),
    OfficialModel("claude-opus-4-5-20251101", "opus", "Claude Opus 4.5", "2025-11-01", aliases=("claude-opus-4-5",)),
    OfficialModel(
        "claude-haiku-4-5-20251001", "haiku", "Claude Haiku 4.5", "2025-10-01", aliases=("claude-haiku-4-5",)
    ),
    OfficialModel(
        "claude-sonnet-4-5-20250929",
        "sonnet",
        "Claude Sonnet 4.5",
        "2025-09-29",
        "deprecated",
        ("claude-sonnet-4-5",),
    ),
)
"""Ids that this server answers to. A date in an id is its day of release."""

_OFFICIAL = {name: model for model in OFFICIAL_MODELS for name in (model.id, *model.aliases)}
_NEWEST = {tier: next(model for model in OFFICIAL_MODELS if model.line == tier) for tier in TIERS}
_CLOUD_SPELLING = re.compile(
    r"^(?:arn:aws[\w-]*:bedrock:[^/]*/)?(?:(?:us|eu|apac|jp|au|global|us-gov)\.)?(?:anthropic\.)?"
    r"(?P<name>claude-[a-z0-9-]+?)(?:-v\d+(?::\d+)?)?(?:@(?P<date>\d{8}|latest|default))?$"
)
_LINE = re.compile(r"(?:^|-)(haiku|sonnet|opus)(?:-|$)")


class ResolvedName(Struct, frozen=True):
    """What a model name that a client wrote means here."""

    answered_as: str
    tier: Tier | None = None
    """None: a target of its own."""
    target: Target | None = None
    is_auto: bool = False
    policy: str | None = None
    """The policy that this name has; its tiers decide then, not `tier`."""


class CatalogEntry(Struct, frozen=True):
    """One model that clients may name."""

    id: str
    display_name: str
    created_at: datetime
    lifecycle: Lifecycle
    line: Line | None
    targets: tuple[Target, ...]
    capabilities: Capabilities | None
    working: bool
    detail: str = ""
    """Why it does not work and what to do, when it does not."""


def parse_target(name: str) -> Target:
    """A target from its name, `provider/model`.

    Raises: ConfigError if it has no slash.
    """
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise ConfigError(f"`{name}` is not a target", hint="write it as provider/model, as local/hokku")
    return Target(provider, model)


def normalize_name(name: str) -> str:
    """The official spelling of a name that may be written as Bedrock or Vertex do; other names come back unchanged."""
    match = _CLOUD_SPELLING.match(name)
    if match is None:
        return name
    date = match["date"]
    return f"{match['name']}-{date}" if date and date.isdigit() else match["name"]


class Catalog:
    """What this server offers, by name. Capabilities and health are asked anew each time, for engines come and go."""

    def __init__(
        self,
        tiers: Mapping[Tier, tuple[Target, ...]],
        providers: Mapping[str, Provider],
        local: tuple[str, ...],
        policies: tuple[str, ...] = (),
    ) -> None:
        """`local` are the names of the local models, () where none runs; `policies` are the names that have one.

        Raises: ConfigError if a tier names a provider that is not configured.
        """
        self._tiers = dict(tiers)
        self._providers = providers
        self._local = local
        self._policies = frozenset(policies)
        self._own_names = tuple(name for name in policies if name != "auto" and self._find(name) is None)
        self._find_named = lru_cache(maxsize=NAMES_MAX)(self._find)
        self._started_at = datetime.now(UTC).replace(microsecond=0)
        for tier, targets in tiers.items():
            for target in targets:
                if target.provider not in providers:
                    raise ConfigError(
                        f"tier {tier}: `{target.name}` names no configured provider",
                        hint=f"add [providers.{target.provider}] to renga.toml, or use one of: {', '.join(providers)}",
                    )

    def resolve(self, name: str) -> ResolvedName:
        """What a client's `model` means.

        Raises: NotFound if nothing here answers to it.
        """
        named = self._find_named(name)
        if named is not None:
            return named
        if name in self._policies:
            return ResolvedName(answered_as=name, policy=name)
        raise NotFound(f"model: {name}", hint="GET /v1/models lists what this server answers to")

    def _find(self, name: str) -> ResolvedName | None:
        """What a name means that needs no policy to mean something; None where it means nothing."""
        if name == "auto":
            return ResolvedName(answered_as="auto", is_auto=True, policy=self._policy(name))
        if name in _TIERS:
            return ResolvedName(answered_as=name, tier=_TIERS[name], policy=self._policy(name))
        spelled = normalize_name(name)
        official = _OFFICIAL.get(spelled)
        if official is not None:
            return ResolvedName(
                answered_as=official.id, tier=_TIERS[official.line], policy=self._policy(official.id, *official.aliases)
            )
        target = self._target(name)
        if target is not None:
            return ResolvedName(answered_as=target.model, target=target)
        line = _LINE.search(spelled) if spelled.startswith("claude-") else None
        if line is not None:
            tier = _TIERS[line[1]]
            answered_as = _NEWEST[tier].id if spelled.endswith("-latest") else spelled
            return ResolvedName(answered_as=answered_as, tier=tier, policy=self._policy(spelled))
        return None

    def _policy(self, *names: str) -> str | None:
        return next((name for name in names if name in self._policies), None)

    def _target(self, name: str) -> Target | None:
        if name in self._local:
            return Target("local", name)
        provider, slash, model = name.partition("/")
        if slash and model and provider in self._providers and (provider != "local" or model in self._local):
            return Target(provider, model)
        return None

    def tier_targets(self, tier: Tier, answered_as: str) -> tuple[Target, ...]:
        """A tier's targets in order. A target named `provider/*` takes the id that the client asked for."""
        asked = answered_as if answered_as.startswith("claude-") else _NEWEST[tier].id
        return tuple(
            Target(target.provider, asked) if target.model == "*" else target for target in self._tiers.get(tier, ())
        )

    def entries(self) -> tuple[CatalogEntry, ...]:
        """Everything that `GET /v1/models` lists, newest official ids first, then tiers' names and targets."""
        official = [self._official_entry(model) for model in OFFICIAL_MODELS]
        named = [self._named_entry("auto", "Renga auto: haiku, with the tiers above behind it", TIERS)]
        named += [self._named_entry(tier, f"Renga {tier}", (tier,)) for tier in TIERS]
        named += [self._named_entry(name, f"Renga policy {name}", TIERS) for name in self._own_names]
        own = {t.name: t for targets in self._tiers.values() for t in targets if t.model != "*"}
        own |= {target.name: target for target in (Target("local", name) for name in self._local)}
        return (*official, *named, *(self._target_entry(target) for target in own.values()))

    def find(self, name: str) -> CatalogEntry | None:
        """The entry that a name or alias means; None if there is none."""
        try:
            named = self.resolve(name)
        except NotFound:
            return None
        if named.target is not None:
            return self._target_entry(named.target)
        official = _OFFICIAL.get(named.answered_as)
        if official is not None:
            return self._official_entry(official)
        tiers = TIERS if named.is_auto or named.tier is None else (named.tier,)
        return self._named_entry(named.answered_as, named.answered_as, tiers)

    def _official_entry(self, model: OfficialModel) -> CatalogEntry:
        tier = _TIERS[model.line]
        created_at = datetime.fromisoformat(model.created_on).replace(tzinfo=UTC)
        return self._entry(
            CatalogEntry(
                model.id,
                model.display_name,
                created_at,
                model.lifecycle,
                model.line,
                self.tier_targets(tier, model.id),
                None,
                False,
            )
        )

    def _named_entry(self, name: str, display_name: str, tiers: tuple[Tier, ...]) -> CatalogEntry:
        targets = tuple(target for tier in tiers for target in self.tier_targets(tier, name))
        line = tiers[0] if len(tiers) == 1 else None
        return self._entry(CatalogEntry(name, display_name, self._started_at, "active", line, targets, None, False))

    def _target_entry(self, target: Target) -> CatalogEntry:
        return self._entry(
            CatalogEntry(target.name, target.name, self._started_at, "active", None, (target,), None, False)
        )

    def _entry(self, entry: CatalogEntry) -> CatalogEntry:
        """Fill in what the first working target can do."""
        details: list[str] = []
        for target in entry.targets:
            provider = self._providers[target.provider]
            health = provider.health(target.model)
            if health.ready:
                return replace(entry, capabilities=provider.capabilities(target.model), working=True)
            details.append(f"{target.name}: {health.detail}")
        if not entry.targets:
            details.append("no target: set ANTHROPIC_API_KEY or write [tiers] in renga.toml")
        return replace(entry, detail="; ".join(details))
