"""The order of a request's steps, and nothing else.

Owns: reserve, plan, the attempts one after the other, and that a failure on the way is settled.
Must never know: HTTP, SQL, or which kind of provider answers.
Invariants: when `answer` returns, the first batch has arrived and nothing can be retried any more; a client that leaves
closes the answer, which closes the provider's stream and settles what was used as partial. A provider's stream is read
in the frame of `answer` itself, so that no more than five frames lie between a handler and a socket.
"""

from __future__ import annotations

from renga.errors import Overloaded, RengaError
from renga.inference.answer import Answer, TargetAnswer
from renga.inference.execution import Planned, Reserved
from renga.inference.services import Services
from renga.inference.stored_answer import ReplayedAnswer, find_stale, look_up
from renga.inference.verification import CheckedAnswer, buffer_answer, check_answer
from renga.protocols.messages.inference_request import InferenceRequest


async def answer(request: InferenceRequest, services: Services) -> Answer:
    """Answer a request: returns when the first events are there.

    Raises: RengaError when no target could answer. The lease is settled then, and nothing was sent to the client.
    """
    state: Reserved | Planned = Reserved(request, services.ledger.reserve(request), services)
    try:
        if services.files is not None:
            inlined = await services.files.resolve(request)
            if inlined is not request:
                state = state.with_request(inlined)
        found = look_up(state)
        if isinstance(found, ReplayedAnswer):
            waiting = services.ledger.hold_price(state.lease, ())
            if waiting is not None:
                await waiting
            return found
        state = planned = state.plan(found)
        waiting = planned.hold_price()
        if waiting is not None:
            await waiting
        failure: RengaError | None = None
        for candidate, permit in planned.admit():
            attempt = planned.start_attempt(candidate, permit)
            check = candidate.check
            try:
                first = attempt.take_first(await anext(attempt.stream, None))
                if check is None or check.optimistic:
                    return TargetAnswer(planned.answer_with(attempt, first))
                buffered = buffer_answer(await attempt.collect(first))
            except BaseException as error:
                attempt.end(error)
                if not isinstance(error, RengaError):
                    raise
                failure = error
                if planned.is_final(error, candidate):
                    break
                continue
            result = await check_answer(state.reserved.request, candidate.target, check, buffered, planned.log)
            planned.findings.note_check(CheckedAnswer(attempt, buffered, result))
            if result.accept:
                return TargetAnswer(planned.answer_with(attempt, buffered))
        last_resort = planned.answer_with_rejected()
        if last_resort is not None:
            return TargetAnswer(last_resort)
        raise failure or Overloaded("Every target for this model is busy.", hint="send the request again")
    except BaseException as error:
        stale = find_stale(state, error)
        if stale is not None:
            return stale
        state.fail(error)
        raise


async def count_tokens(request: InferenceRequest, services: Services) -> int:
    """The input tokens that this request would be billed for, by the first target of its plan that can tell.

    Raises: RengaError when no target could.
    """
    if services.files is not None:
        request = await services.files.resolve(request)
    *others, last = services.router.plan(request.message, request.caller, len(request.body)).attempts
    for attempt in others:
        try:
            return await services.providers[attempt.target.provider].count_tokens(request, attempt.target.model)
        except RengaError as error:
            if not error.retryable:
                raise
    return await services.providers[last.target.provider].count_tokens(request, last.target.model)
