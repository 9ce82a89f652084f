"""`POST /v1/feedback`: what a client says of an answer that it got. A route of Renga's own.

Owns: what of HTTP reaches the table of outcomes. Must never know: what scores are used for.
Invariant: a key judges its own requests only, and learns nothing of others'.
"""

from __future__ import annotations

import msgspec

from renga.domain.outcomes import Feedback
from renga.errors import NotFound
from renga.http.exchange.body import read_body
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.http_services import HttpServices
from renga.http.route_table import Route
from renga.protocols.resources.feedback import FeedbackAnswer, decode_feedback

_BODY_BYTES = 16 * 1024


async def give_feedback(exchange: HttpExchange, parts: HttpServices) -> None:
    """Write a score down. Said again it changes nothing, said differently it replaces what was said."""
    outcomes = parts.outcomes
    if outcomes is None:
        raise NotFound("This server takes no feedback.")
    body = decode_feedback(await read_body(exchange, _BODY_BYTES))
    judged = await outcomes.judge(
        Feedback(exchange.key_id, body.score, body.label, request_id=body.request_id, message_id=body.message_id)
    )
    answer = FeedbackAnswer(judged.request_id, judged.policy, judged.judged, body.score, body.label)
    await exchange.respond(200, msgspec.json.encode(answer))


ROUTES = (Route("POST", "/v1/feedback", give_feedback),)
