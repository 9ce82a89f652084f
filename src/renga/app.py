"""Putting the parts together: the only place that knows them all.

Owns: the order in which parts are built, started and stopped.
Must never know: how any part does its work.
Invariants: nothing happens at import; building starts nothing; `stop` leaves no process, thread or socket behind, and
the ledger's last rows on disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, ProcessCollector

from renga.accounting.keys.key_ring import KeyRing, NewKey
from renga.accounting.ledger.journal import Journal
from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.ledger.spool import Spool
from renga.accounting.limits.quotas import Quotas
from renga.accounting.pricing.discounts import DiscountBook
from renga.accounting.pricing.price_book import PriceBook
from renga.clock import Clock, SystemClock
from renga.config import Config, data_dir, database_url
from renga.errors import ConfigError
from renga.files import open_file_service
from renga.files.file_inlining import FileInliner
from renga.http.guard import Guard
from renga.http.http_services import HttpServices
from renga.inference import Services
from renga.metrics.request_metrics import RequestMetrics
from renga.models.cache.automatic_breakpoints import AutomaticBreakpoints
from renga.models.cache.response_cache import ResponseCache
from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.models.providers.local import (
    EngineMetrics,
    LocalProvider,
    StartedEngine,
    build_local_provider,
    name_local_models,
)
from renga.models.providers.openai.provider import OpenAICompatibleProvider
from renga.models.providers.provider_seam import Provider, Target, Tier
from renga.models.providers.transport.credentials import read_key
from renga.routing.catalog.catalog import TIERS, Catalog, parse_target
from renga.routing.costs.cascade import CascadeChooser
from renga.routing.costs.price_rows import PriceRows
from renga.routing.monitoring.metrics_collector import RoutingMetrics
from renga.routing.outcomes.outcome_book import OutcomeBook
from renga.routing.policy.decision import Decider
from renga.routing.policy.policies import Policies
from renga.routing.router import Router
from renga.routing.targets.target_health import TargetHealth
from renga.routing.targets.traffic_split import TrafficSplit
from renga.services.batches import BatchService, BatchWorker, place_of
from renga.services.shadow.online_evaluation import OnlineEvaluation, RoutingSurroundings, build_live
from renga.store.database_handle import DatabaseHandle
from renga.store.store_thread import StoreThread
from renga.store.stored_secret import StoredSecret

if TYPE_CHECKING:
    from renga.store.database import Database

LOCAL = "local"
_SIGNATURE_SECRET = "thinking-signature"  # noqa: S105 - the name under which it is stored
_STORE_WAIT_S = 30.0
_WARM_DELAY_S = 1.0


class App:
    """A built server: an ASGI application with a life, which the lifespan protocol starts and stops."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        store: StoreThread,
        keys: KeyRing,
        parts: HttpServices,
        live: OnlineEvaluation,
    ) -> None:
        self._providers = providers
        self._live = live
        self._store = store
        self.keys = keys
        self._warming: asyncio.Task[None] | None = None
        self.parts = replace(parts, startup=self.start, shutdown=self.stop)
        self.asgi = Guard(self.parts)

    @property
    def first_key(self) -> NewKey | None:
        """The key that was made at this start because there was none; known once `wait_store` returned."""
        return self.keys.first_key

    def admin(self) -> Guard:
        """The application of the administrators' port. Imported late: most servers have none."""
        from renga.http.admin.admin_routes import ADMIN_ROUTES

        return self.asgi.with_routes(ADMIN_ROUTES)

    def advice(self) -> list[str]:
        """What whoever started the server should know: tiers that nobody answers, providers that cannot work."""
        entries = {tier: self.parts.catalog.find(tier) for tier in TIERS}
        empty = [tier for tier, entry in entries.items() if entry is not None and not entry.targets]
        lines: list[str] = []
        if empty:
            lines.append(f"No target for {', '.join(empty)}: set ANTHROPIC_API_KEY, or write [tiers] in renga.toml.")
        for name, provider in self._providers.items():
            health = provider.health()
            if name != LOCAL and not health.ready:
                lines.append(f"Provider {name} cannot work: {health.detail}.")
        return lines

    async def start(self) -> None:
        """Start everything. Returns before providers are ready; `/ready` says when they are."""
        for provider in self._providers.values():
            await provider.start()
        if self.parts.limits is not None:
            await self.parts.limits.start()
        if self.parts.files is not None:
            await self.parts.files.start()
        if self.parts.batches is not None:
            await self.parts.batches.start()
        self._store.start()
        self._warming = asyncio.create_task(self._warm())

    async def _warm(self) -> None:
        """Load what policies need (numpy and the rest: 0.2 s) once the first answers are out."""
        policies = self.parts.answering.router.policies
        if policies is not None:
            await asyncio.sleep(_WARM_DELAY_S)
            await asyncio.to_thread(policies.warm)

    async def wait_store(self) -> None:
        """Wait until the database is open and the keys are loaded.

        Raises: what opening it raised.
        """
        await asyncio.to_thread(self._store.wait_ready, _STORE_WAIT_S)

    async def stop(self) -> None:
        """Stop everything, newest first; the ledger's last rows are written. Idempotent."""
        if self._warming is not None:
            self._warming.cancel()
        if self.parts.batches is not None:
            await self.parts.batches.stop()
        await self._live.stop()
        if self.parts.files is not None:
            await self.parts.files.stop()
        for provider in reversed(list(self._providers.values())):
            await provider.stop()
        if self.parts.limits is not None:
            await self.parts.limits.stop()
        await asyncio.to_thread(self._store.stop)


def build(config: Config, *, create_first_key: bool = False, engine: StartedEngine | None = None) -> App:
    """Put a server together. Starts nothing and opens nothing. `engine` is one that was started beforehand.

    Raises: ConfigError if tiers, targets or providers do not fit together.
    """
    clock = SystemClock()
    metrics = RequestMetrics()
    signature_secret = StoredSecret(_SIGNATURE_SECRET)
    folder = data_dir(config.store)
    spool = Spool(folder / "ledger.spool", journal=Journal(folder))
    database = DatabaseHandle()
    discounts = DiscountBook(config.discounts, clock) if config.discounts else None
    prices = PriceBook(config.providers, config.prices, discounts)
    quotas = Quotas(config.limits, prices, metrics, clock)
    keys = KeyRing(clock, create_first=create_first_key, quotas=quotas, database=database)
    ledger = Ledger(prices, metrics, clock, queue_rows=config.ledger.queue_rows, spool=spool, quotas=quotas)
    files = open_file_service(config.files, folder / "files", clock, database) if config.files.enabled else None
    outcomes = OutcomeBook(clock, database)
    others = [discounts] if discounts else []
    jobs = (ledger, keys, quotas, signature_secret, outcomes, *others)
    interval_s = config.ledger.flush_interval_s
    store = StoreThread(lambda: _open_database(config), jobs, interval_s=interval_s, handle=database)
    providers = build_providers(config, signature_secret, clock)
    local = name_local_models(config)
    if local:
        providers = {LOCAL: build_local_provider(config, signature_secret.value, clock, engine), **providers}
    policies = Policies(config.policies)
    catalog = Catalog(plan_tiers(config, local), providers, local, policies.names)
    decider = Decider(policies, CascadeChooser(PriceRows(prices, clock), clock))
    health = TargetHealth(config.health, config.targets, clock)
    shares = TrafficSplit(config.targets, config.canaries, health.weight)
    router = Router(catalog, providers, decider, shares)
    path = Services(providers, router, ledger, clock, health=health, files=FileInliner(files) if files else None)
    live = build_live(path, RoutingSurroundings(catalog, policies, shares, outcomes, prices))
    answering = replace(path, observers=live.observers, responses=ResponseCache(config.cache, clock))
    place = place_of(database_url(config.store), data_dir(config.store))
    worker = BatchWorker(answering, database, config.batches, place)
    metrics.watch("renga_outcomes_lost_rows_total", "Outcomes given up; each was logged.", lambda: outcomes.lost_rows)
    metrics.watch("renga_batch_requests_running", "Requests of batches that run.", lambda: worker.running)
    shown = RoutingMetrics(health, live.guard.readings, live.samplers)
    parts = HttpServices(
        answering=answering,
        keys=keys,
        catalog=catalog,
        settings=config.server,
        metrics=_build_registry(metrics, shown, providers.get(LOCAL)),
        batches=BatchService(database, clock, config.batches, worker),
        files=files,
        health=health,
        routing=live.reports,
        outcomes=outcomes,
        database=database,
        organization=config.admin.organization,
        limits=quotas.shared,
    )
    return App(providers, store, keys, parts, live)


def _build_registry(metrics: RequestMetrics, routing: RoutingMetrics, local: Provider | None) -> CollectorRegistry:
    """What `/metrics` shows: the ledger's and the router's figures, the process's, and the engine's load."""
    registry = CollectorRegistry()
    registry.register(metrics)
    registry.register(routing)
    ProcessCollector(registry=registry)
    if isinstance(local, LocalProvider):
        registry.register(EngineMetrics(local.pool))
    return registry


def _open_database(config: Config) -> Database:
    """Imported late: SQLAlchemy costs 150 ms, which the store thread spends beside the engine's start."""
    from renga.store.database import open_database

    return open_database(database_url(config.store))


def build_providers(config: Config, signature_secret: StoredSecret, clock: Clock) -> dict[str, Provider]:
    """One provider for each of the settings.

    Raises: ConfigError if a setting takes a name that is Renga's own, or a key's file cannot be read.
    """
    providers: dict[str, Provider] = {}
    breakpoints = AutomaticBreakpoints(clock) if config.cache.automatic_breakpoints else None
    for name, settings in config.providers.items():
        if name == LOCAL:
            raise ConfigError("providers.local: this name is the local engine's", hint="choose another name")
        secret = read_key(name, settings, os.environ)
        match settings.kind:
            case "anthropic":
                providers[name] = AnthropicProvider(name, settings, secret, clock, breakpoints)
            case "openai_compatible":
                signatures = signature_secret.value
                providers[name] = OpenAICompatibleProvider(name, settings, secret, clock, signatures)
    return providers


def plan_tiers(config: Config, local: tuple[str, ...]) -> dict[Tier, tuple[Target, ...]]:
    """The targets of each tier: as configured, or the default for what is there. `local` are the local models' names.

    By default haiku is the default local model with Anthropic's haiku behind it, and the tiers above are Anthropic's.
    Raises: ConfigError for a local model that does not run here: another would answer under its name.
    """
    upstream = ("anthropic/*",) if "anthropic" in config.providers else ()
    default = {"haiku": (f"{LOCAL}/{local[0]}", *upstream) if local else upstream, "sonnet": upstream, "opus": upstream}
    chosen = {"haiku": config.tiers.haiku, "sonnet": config.tiers.sonnet, "opus": config.tiers.opus}
    for tier, names in chosen.items():
        for name in names or ():
            if local and name.startswith(f"{LOCAL}/") and name.removeprefix(f"{LOCAL}/") not in local:
                raise _refuse_local(name, tier, tuple(f'"{LOCAL}/{each}"' for each in local))
    return {
        tier: tuple(parse_target(name) for name in (default[tier] if chosen[tier] is None else chosen[tier] or ()))
        for tier in TIERS
    }


def _refuse_local(name: str, tier: str, known: tuple[str, ...]) -> ConfigError:
    """Say which local models there are, where a tier names another."""
    if len(known) == 1:
        return ConfigError(
            f'"{name}" is not the local model that runs, which is {known[0]}',
            path=f"tiers.{tier}",
            hint=f"write {known[0]}, choose another model with --model or engine.model, or add a table [models.NAME]",
        )
    return ConfigError(
        f'"{name}" is none of the local models, which are {", ".join(known)}',
        path=f"tiers.{tier}",
        hint="write one of these, or add a table [models.NAME]",
    )
