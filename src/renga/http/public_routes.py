"""Every route of the port for clients, and whose format the errors of other paths have.

Owns: the list. Must never know: what a route does. The administrators' port has its own (`http/admin`).
"""

from __future__ import annotations

from typing import Final

from renga.http.exchange.inference_routes import answer_request, count_request_tokens
from renga.http.exchange.surface import SurfaceTable
from renga.http.health import health, metrics, ready, root, take_telemetry
from renga.http.messages.surface import MESSAGES
from renga.http.resources.batches import ROUTES as BATCH_ROUTES
from renga.http.resources.feedback import ROUTES as FEEDBACK_ROUTES
from renga.http.resources.files import ROUTES as FILE_ROUTES
from renga.http.resources.models import get_model, list_models
from renga.http.resources.routing_report import ROUTES as ROUTING_ROUTES
from renga.http.route_table import Route

PUBLIC_ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/v1/messages", answer_request),
    Route("POST", "/v1/messages/count_tokens", count_request_tokens),
    Route("GET", "/v1/models", list_models, scope=None),
    Route("GET", "/v1/models/{model*}", get_model, scope=None),
    *BATCH_ROUTES,
    *FILE_ROUTES,
    *FEEDBACK_ROUTES,
    *ROUTING_ROUTES,
    Route("GET", "/", root, scope=None),
    Route("GET", "/health", health, scope=None),
    Route("GET", "/ready", ready, scope=None),
    Route("GET", "/metrics", metrics, scope=None),
    Route("POST", "/api/event_logging/batch", take_telemetry, scope=None),
)

OPEN_PATHS: Final = ("/", "/health", "/ready")
"""The only paths that work without a key."""

SURFACES: Final = SurfaceTable(MESSAGES)
"""Whose format errors have where no route says it."""
