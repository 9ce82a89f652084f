"""From the engine's tokens to the events of an answer.

Owns: what becomes of each batch of tokens: decode, parse, write; the thinking budget; stop reasons; usage; evidence.
Must never know: how a prompt was made, where tokens come from, HTTP. Nothing here waits.
Invariants: usage counts every token that the model chose up to the stop, and none after it; thinking never runs past
its budget by more than one batch.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from renga import ids
from renga.models.engine.grammar.answer_rules import build_answer_grammar
from renga.models.engine.ipc import Finish, GenerationRequest, TokenBatch
from renga.models.engine.loading.model_loader import Model
from renga.models.engine.text.answer_parser import AnswerParser, AnswerShape
from renga.models.engine.text.families import Family
from renga.models.providers.local.event_writer import EventWriter
from renga.models.providers.local.held_prefixes import PrefixClaim
from renga.models.providers.local.prompt_rendering import Conversation
from renga.protocols.messages.events import event_types
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.request import MessageRequest, ThinkingAdaptive, ThinkingEnabled
from renga.protocols.messages.signature import Signer


class AnswerContext(Struct, frozen=True):
    """What has to be known of a request while its answer is built."""

    model: Model
    conversation: Conversation
    generation: GenerationRequest
    request: MessageRequest
    answered_as: str
    """What `message.model` says."""
    signer: Signer
    thinking_open: bool
    context_full: bool
    """Whether the context, and not the client, sets the limit."""
    claim: PrefixClaim
    """What it finds in the prompt cache, and leaves there."""


class AnswerBuilder:
    """One answer as far as it has come. Ask it what to generate, give it what came, and send on what it makes."""

    def __init__(self, context: AnswerContext) -> None:
        family = context.model.family
        self.began = False
        """Whether the event that begins the answer was made."""
        self._context = context
        self._is_warming = context.request.max_tokens == 0
        """Whether only the prefix cache is to be filled; the engine's shortest answer, one token, is thrown away."""
        self._next_generation: GenerationRequest | None = (
            replace(context.generation, max_tokens=1, grammar=None) if self._is_warming else context.generation
        )
        self._decoder = context.model.vocabulary.decoder(visible=family.visible_tokens)
        self._parser = AnswerParser(
            AnswerShape(
                family=family,
                stop_sequences=context.request.stop_sequences,
                tool_names=frozenset(rule.name for rule in context.conversation.rules.tools),
                thinking_open=context.thinking_open,
            )
        )
        self._writer = EventWriter(
            context.signer,
            show_thinking=_shows_thinking(context.request),
            keep_leading_space=context.conversation.has_prefill,
        )
        self._token_ids: list[int] = []
        self._logprob_sum = 0.0
        self._min_logprob = 0.0
        self._thinking_tokens = 0
        self._finish: Finish | None = None

    def take_generation(self) -> GenerationRequest | None:
        """What the engine is to generate next; None when the answer is complete."""
        generation, self._next_generation = self._next_generation, None
        return generation

    @property
    def wants_tokens(self) -> bool:
        """Whether the generation that runs has more tokens for it."""
        return self._finish is None and self._parser.stopped_by is None and self._next_generation is None

    def accept(self, batch: TokenBatch, *, alone: bool) -> Batch:
        """Take the tokens of one batch, up to a stop sequence, and give the events they make.

        `alone`: no other request was with the engine.
        """
        self._finish = batch.finish
        if self._is_warming:
            self._finish = batch.finish and "length"
            if batch.finish is None:
                return []
            return self._begin(alone=alone)
        events: Batch = []
        for token_id, logprob in zip(batch.token_ids, batch.logprobs, strict=True):
            self._token_ids.append(token_id)
            self._logprob_sum += logprob
            self._min_logprob = min(self._min_logprob, logprob)
            self._thinking_tokens += self._parser.is_thinking
            events += self._writer.write_pieces(self._parser.push(self._decoder.push((token_id,))))
            if self._parser.stopped_by is not None:
                break
        if not self.began:
            events = [*self._begin(alone=alone), *events]
        if self.wants_tokens and self._is_over_budget:
            events += self._close_thinking()
        return events

    def _begin(self, *, alone: bool) -> Batch:
        """The event that begins the answer; what was generated by then is already counted in it."""
        self.began = True
        self._context.claim.begin_answer(alone=alone)
        split = self._context.claim.split
        usage = event_types.Usage(
            input_tokens=split.input_tokens,
            cache_creation_input_tokens=split.written_tokens,
            cache_read_input_tokens=split.read_tokens,
            cache_creation=event_types.CacheCreation(split.written_5m_tokens, split.written_1h_tokens),
            output_tokens=len(self._token_ids),
            service_tier="standard",
        )
        message = event_types.Message(model=self._context.answered_as, id=ids.message_id(), usage=usage)
        return [event_types.MessageStart(message)]

    @property
    def _is_over_budget(self) -> bool:
        """Whether the answer still thinks though its budget is spent."""
        budget_tokens = self._context.conversation.thinking_budget_tokens
        return budget_tokens is not None and self._parser.is_thinking and self._thinking_tokens >= budget_tokens

    def _close_thinking(self) -> Batch:
        """Cut thinking off; the generation that goes on has the prompt, what was thought, and the closing tag."""
        context = self._context
        left_tokens = context.generation.max_tokens - len(self._token_ids)
        if left_tokens < 1:
            self._finish = "length"
        else:
            closing = context.model.vocabulary.encode(_closing(context.model.family), parse_special=True)
            self._next_generation = replace(
                context.generation,
                prompt_token_ids=[*context.generation.prompt_token_ids, *self._token_ids, *closing],
                max_tokens=left_tokens,
                grammar=build_answer_grammar(replace(context.conversation.rules, thinking_open=False)),
            )
        return self._writer.write_pieces(self._parser.push(context.model.family.think_close))

    def release(self) -> None:
        """Nothing more is generated: what the engine holds of it now is what a next turn begins with."""
        if self.began and not self._is_warming:
            self._context.claim.end_answer([*self._context.generation.prompt_token_ids, *self._token_ids])

    def end(self) -> Batch:
        """The events that end the answer, evidence last."""
        events: Batch = []
        if self._parser.stopped_by is None:
            events += self._writer.write_pieces(self._parser.push(self._decoder.finish()))
            events += self._writer.write_pieces(self._parser.finish())
        self._writer.close(events)
        split = self._context.claim.split
        events.append(
            event_types.MessageDelta(
                event_types.MessageDeltaBody(self._stop_reason(), self._parser.stopped_by),
                event_types.DeltaUsage(
                    output_tokens=len(self._token_ids),
                    input_tokens=split.input_tokens,
                    cache_creation_input_tokens=split.written_tokens,
                    cache_read_input_tokens=split.read_tokens,
                    output_tokens_details=event_types.OutputTokensDetails(self._thinking_tokens),
                ),
            )
        )
        events.append(event_types.MessageStop())
        if self._token_ids:
            count = len(self._token_ids)
            events.append(event_types.Evidence(self._logprob_sum / count, self._min_logprob, count))
        return events

    def _stop_reason(self) -> event_types.StopReason:
        if self._parser.stopped_by is not None:
            return "stop_sequence"
        if self._finish == "length":
            return "model_context_window_exceeded" if self._context.context_full else "max_tokens"
        return "tool_use" if self._writer.called_tools else "end_turn"


def _closing(family: Family) -> str:
    """How a family writes the end of thinking."""
    return family.think_close + ("\n\n" if family.loose_newlines else "")


def _shows_thinking(request: MessageRequest) -> bool:
    match request.thinking:
        case ThinkingEnabled(display="omitted") | ThinkingAdaptive(display="omitted"):
            return False
        case _:
            return True
