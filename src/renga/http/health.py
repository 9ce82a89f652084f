"""What operators and load balancers ask: is it there, can it work, how is it doing.

Owns: `/`, `/health`, `/ready`, `/metrics`, and the telemetry that clients post. Must never know: how providers tell.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from renga import __version__
from renga.http.exchange.body import read_body
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.http_services import HttpServices
from renga.models.providers.provider_seam import ProviderHealth


class ModelReadiness(Struct, frozen=True):
    """Whether one model of a provider can take requests now, and if not, why."""

    ready: bool
    detail: str


class ProviderReadiness(Struct, frozen=True, omit_defaults=True):
    """Whether a provider can take requests now, and if not, why."""

    ready: bool
    detail: str
    models: dict[str, ModelReadiness] = {}
    """Of local models, which are loaded one by one."""


class ReadinessReport(Struct, frozen=True, omit_defaults=True):
    """Ready when at least one provider is: the others' requests go to it, or are refused with the reason."""

    ready: bool
    providers: dict[str, ProviderReadiness]
    targets: dict[str, str] = {}
    """Those that are left alone for now, and why."""
    limits: str | None = None
    """Of those that servers share. While their count is away the server stays ready: requests without limits need it
    not, and all servers would leave at once.
    """


class LivenessReport(Struct, frozen=True):
    """What the server says of itself as long as it runs."""

    status: str
    version: str


_ALIVE = msgspec.json.encode(LivenessReport("ok", __version__))


_WELCOME = f"""\
Renga {__version__} speaks the Messages API.

  POST /v1/messages                with a key, as `x-api-key: sk-renga-...` or `Authorization: Bearer sk-renga-...`
  POST /v1/messages/count_tokens
  POST /v1/messages/batches
  POST /v1/files
  GET  /v1/models                  what clients may name, and what answers
  GET  /ready                      whether a request could be answered now; needs no key

SDKs take this address as their base URL, without /v1. `renga keys create NAME` makes a key.
""".encode()
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")


async def root(exchange: HttpExchange, parts: HttpServices) -> None:
    """Somebody is here, and says what to ask. Claude Code asks with HEAD before it starts, people with a browser."""
    await exchange.respond(200, _WELCOME, (_PLAIN,))


async def health(exchange: HttpExchange, parts: HttpServices) -> None:
    """Answer that the process runs; this says nothing about models."""
    await exchange.respond(200, _ALIVE)


async def ready(exchange: HttpExchange, parts: HttpServices) -> None:
    """Whether a request could be answered now: 200 or 503."""
    providers = {name: _describe_readiness(provider.health()) for name, provider in parts.answering.providers.items()}
    targets = {} if parts.health is None else parts.health.refused()
    limits = None if parts.limits is None else parts.limits.status().detail
    readiness = ReadinessReport(any(provider.ready for provider in providers.values()), providers, targets, limits)
    await exchange.respond(200 if readiness.ready else 503, msgspec.json.encode(readiness))


def _describe_readiness(health: ProviderHealth) -> ProviderReadiness:
    models = {name: ModelReadiness(model.ready, model.detail) for name, model in health.models.items()}
    return ProviderReadiness(health.ready, health.detail, models)


async def metrics(exchange: HttpExchange, parts: HttpServices) -> None:
    """Every figure in Prometheus' text format. Needs a key: it tells who uses what."""
    await exchange.respond(
        200, generate_latest(parts.metrics), ((b"content-type", CONTENT_TYPE_LATEST.encode("ascii")),)
    )


async def take_telemetry(exchange: HttpExchange, parts: HttpServices) -> None:
    """Claude Code posts its telemetry to its base URL. It is read and dropped: a 404 would only be noise to both."""
    await read_body(exchange, parts.settings.max_body_bytes)
    await exchange.respond(200, b"{}")
