"""The order of a request's steps, and nothing else.

Owns: reserve, plan, open, and that a failure on the way is settled.
Must never know: HTTP, SQL, or which kind of provider answers.
Invariant: when `answer` returns, the first batch has arrived and nothing can be retried any more; a client that leaves
closes `Answer.events`, which closes the provider's stream and settles what was used as partial.
"""

from __future__ import annotations

from renga.domain.owners import Owner
from renga.errors import RengaError
from renga.inference.answer import Answer
from renga.inference.execution import RequestExecution
from renga.inference.services import InferenceRequest, Services, build_asker, build_call
from renga.inference.stored_answer import find_stale, find_stored


async def answer(ask: InferenceRequest, parts: Services) -> Answer:
    """Answer a request: returns when the first events are there.

    Raises: RengaError when no target could answer. The lease is settled then, and nothing was sent to the client.
    """
    lease = parts.ledger.reserve(ask.terms())
    passage = RequestExecution(ask, lease, parts)
    try:
        if parts.files is not None:
            owner = Owner(ask.key_id, ask.workspace_id)
            request, raw = await parts.files.resolve(ask.request, ask.raw, owner)
            if raw is not ask.raw:
                passage.ask = ask = ask.renewed(request, raw)
                passage.lease = lease = parts.ledger.extend(lease, ask.terms())
        stored = find_stored(passage)
        if stored is not None:
            waiting = parts.ledger.hold_price(lease, ())
            if waiting is not None:
                await waiting
            return stored
        plan = parts.router.plan(ask.request, build_asker(ask))
        passage.begin(plan)
        if lease.hold is not None:
            targets = [attempt.target.name for attempt in plan.attempts]
            waiting = parts.ledger.hold_price(lease, targets, plan.beside)
            if waiting is not None:
                # Limits that servers share are taken here, all of them in one round trip.
                await waiting
        stream, first = await passage.open()
    except BaseException as error:
        stale = find_stale(passage, error)
        if stale is not None:
            return stale
        passage.settle_failure(error)
        raise
    return Answer(passage, stream, first)


async def count_tokens(ask: InferenceRequest, parts: Services) -> int:
    """The input tokens that this request would be billed for, by the first target of its plan that can tell.

    Raises: RengaError when no target could.
    """
    if parts.files is not None:
        owner = Owner(ask.key_id, ask.workspace_id)
        ask = ask.renewed(*await parts.files.resolve(ask.request, ask.raw, owner))
    plan = parts.router.plan(ask.request, build_asker(ask))
    for attempt in plan.attempts[:-1]:
        try:
            return await parts.providers[attempt.target.provider].count_tokens(build_call(ask, plan, attempt))
        except RengaError as error:
            if not error.retryable:
                raise
    last = plan.attempts[-1]
    return await parts.providers[last.target.provider].count_tokens(build_call(ask, plan, last))
