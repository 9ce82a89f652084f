"""From the engine's tokens to the events of an answer.

Owns: the loop over token batches: decode, parse, write; the thinking budget; stop reasons; usage; evidence.
Must never know: how a prompt was made, HTTP.
Invariants: usage counts every token that the model chose up to the stop, and none after it; thinking never runs past
its budget by more than one batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from msgspec import Struct
from msgspec.structs import replace

from renga.engine.client import EngineClient
from renga.engine.families import Family
from renga.engine.grammar import build_answer_grammar
from renga.engine.models import Model
from renga.engine.parse import AnswerShape, Parser
from renga.engine.protocol import Finish, Generation, TokenBatch
from renga.errors import RengaError, UpstreamTimedOut
from renga.providers.local.prompt import Conversation, Signer
from renga.providers.local.writer import Writer
from renga.wire import stream
from renga.wire.errors import error_event
from renga.wire.request import MessageRequest, ThinkingAdaptive, ThinkingEnabled
from renga.wire.stream import Batch


class Answering(Struct, frozen=True):
    """What an answer in progress needs to know."""

    model: Model
    conversation: Conversation
    generation: Generation
    request: MessageRequest
    signer: Signer
    thinking_open: bool
    context_full: bool
    """Whether the context, and not the client, sets the limit."""
    timeout_s: float
    """How long the engine may take."""


class _Progress:
    """One answer as far as it has come."""

    def __init__(self, answering: Answering) -> None:
        family = answering.model.family
        self.answering = answering
        self.decoder = answering.model.vocabulary.decoder(visible=family.visible_tokens)
        self.parser = Parser(
            AnswerShape(
                family=family,
                stop_sequences=answering.request.stop_sequences,
                tool_names=frozenset(rule.name for rule in answering.conversation.rules.tools),
                thinking_open=answering.thinking_open,
            )
        )
        self.writer = Writer(
            answering.signer,
            show_thinking=_shows_thinking(answering.request),
            keep_leading_space=answering.conversation.has_prefill,
        )
        self.token_ids: list[int] = []
        self.logprob_sum = 0.0
        self.min_logprob = 0.0
        self.thinking_tokens = 0
        self.finish: Finish | None = None

    @property
    def goes_on(self) -> bool:
        """Whether more tokens are wanted and to be had."""
        return self.finish is None and self.parser.stopped_by is None

    def accept(self, batch: TokenBatch) -> Batch:
        """Take the tokens of one batch, up to a stop sequence, and give the events they make."""
        events: Batch = []
        self.finish = batch.finish
        for token_id, logprob in zip(batch.token_ids, batch.logprobs, strict=True):
            self.token_ids.append(token_id)
            self.logprob_sum += logprob
            self.min_logprob = min(self.min_logprob, logprob)
            self.thinking_tokens += self.parser.is_thinking
            events += self.writer.write(self.parser.push(self.decoder.push((token_id,))))
            if self.parser.stopped_by is not None:
                break
        return events

    @property
    def over_budget(self) -> bool:
        """Whether the answer still thinks though its budget is spent."""
        budget_tokens = self.answering.conversation.thinking_budget_tokens
        return budget_tokens is not None and self.parser.is_thinking and self.thinking_tokens >= budget_tokens

    def end(self) -> Batch:
        """The events that end the answer, evidence last."""
        events: Batch = []
        if self.parser.stopped_by is None:
            events += self.writer.write(self.parser.push(self.decoder.finish()))
            events += self.writer.write(self.parser.finish())
        self.writer.close(events)
        events.append(
            stream.MessageDelta(
                stream.MessageDeltaBody(self._stop_reason(), self.parser.stopped_by),
                stream.DeltaUsage(
                    output_tokens=len(self.token_ids),
                    input_tokens=len(self.answering.generation.prompt_token_ids),
                    cache_creation_input_tokens=0,
                    cache_read_input_tokens=0,
                    output_tokens_details=stream.OutputTokensDetails(self.thinking_tokens),
                ),
            )
        )
        events.append(stream.MessageStop())
        if self.token_ids:
            count = len(self.token_ids)
            events.append(stream.Evidence(self.logprob_sum / count, self.min_logprob, count))
        return events

    def _stop_reason(self) -> stream.StopReason:
        if self.parser.stopped_by is not None:
            return "stop_sequence"
        if self.finish == "length":
            return "model_context_window_exceeded" if self.answering.context_full else "max_tokens"
        return "tool_use" if self.writer.called_tools else "end_turn"


async def answer_tokens(client: EngineClient, answering: Answering) -> AsyncGenerator[Batch]:
    """Run a generation and yield its events, `message_start` excepted.

    Raises: RengaError before the first batch; later ones become an error event.
    """
    progress = _Progress(answering)
    if answering.request.max_tokens == 0:
        await _warm(client, answering.generation)
        progress.finish = "length"
        yield progress.end()
        return
    deadline = asyncio.get_running_loop().time() + answering.timeout_s
    generation: Generation | None = answering.generation
    began = False
    try:
        while generation is not None:
            tokens = client.generate(generation)
            generation = None
            try:
                while progress.goes_on:
                    events = progress.accept(await _next_batch(tokens, deadline))
                    if events or not began:
                        began = True
                        yield events
                    if progress.goes_on and progress.over_budget:
                        generation = _after_thinking(progress)
                        progress.finish = "length" if generation is None else None
                        yield progress.writer.write(progress.parser.push(answering.model.family.think_close))
                        break
            finally:
                await tokens.aclose()
    except RengaError as error:
        if not began:
            raise
        yield [error_event(error)]
        return
    yield progress.end()


async def _next_batch(tokens: AsyncGenerator[TokenBatch], deadline: float) -> TokenBatch:
    """The next tokens. The clock is the loop's.

    Raises: UpstreamTimedOut when the deadline passes first; what `generate` raises.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(tokens)
    except TimeoutError as error:
        raise UpstreamTimedOut(
            "The local engine did not finish in time.", hint="engine.request_timeout_s sets how long it may take"
        ) from error


async def _warm(client: EngineClient, generation: Generation) -> None:
    """Fill the prefix cache with a prompt: the engine's shortest answer is one token, which is thrown away."""
    async for _ in client.generate(replace(generation, max_tokens=1, grammar=None)):
        pass


def _after_thinking(progress: _Progress) -> Generation | None:
    """The generation that goes on after thinking was cut off: the prompt, what was thought, and the closing tag."""
    answering = progress.answering
    family = answering.model.family
    closing = answering.model.vocabulary.encode(_closing(family), parse_special=True)
    left_tokens = answering.generation.max_tokens - len(progress.token_ids)
    if left_tokens < 1:
        return None
    return replace(
        answering.generation,
        prompt_token_ids=[*answering.generation.prompt_token_ids, *progress.token_ids, *closing],
        max_tokens=left_tokens,
        grammar=build_answer_grammar(replace(answering.conversation.rules, thinking_open=False)),
    )


def _closing(family: Family) -> str:
    """How a family writes the end of thinking."""
    return family.think_close + ("\n\n" if family.loose_newlines else "")


def _shows_thinking(request: MessageRequest) -> bool:
    match request.thinking:
        case ThinkingEnabled(display="omitted") | ThinkingAdaptive(display="omitted"):
            return False
        case _:
            return True
