"""A request as the engine is to get it: rendered, bounded by the context, and with the grammar of its answer.

Owns: fitting the answer into the context, and what the prompt cache knows a prompt by.
Must never know: the engine process, how the answer is read. Nothing here waits.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from renga.errors import InvalidRequest
from renga.models.cache.prefix_cache import CacheMark, MarkedPrompt
from renga.models.cache.prefix_chain import chain_prefixes
from renga.models.engine.grammar.answer_rules import build_answer_grammar
from renga.models.engine.ipc import BACKGROUND, LIVE, GenerationRequest
from renga.models.engine.loading.model_loader import Model
from renga.models.engine.text.chat_template import Prompt
from renga.models.engine.text.families import Family
from renga.models.providers.local.prompt_rendering import Conversation, build_conversation
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import MessageRequest
from renga.protocols.messages.signature import Signer


class PreparedRequest(Struct, frozen=True):
    """A request, ready for the engine."""

    conversation: Conversation
    prompt: Prompt
    generation: GenerationRequest
    context_full: bool
    """Whether the context, and not the client, sets the limit."""
    marked: MarkedPrompt | None
    """The prompt as the prompt cache knows it; None where it has no breakpoint."""


def prepare_request(request: InferenceRequest, model: Model, signer: Signer) -> PreparedRequest:
    """Render the prompt and fit the answer into the context. Cost: 0.2 us a byte, most of it encoding.

    Raises: InvalidRequest if a block cannot be read, a schema cannot be held or the prompt is too long.
    """
    message = request.message
    if message.tools and not calls_tools(model.family):
        raise InvalidRequest("The local model calls no tools.", path="tools", hint="ask for a tier that does")
    conversation = build_conversation(message, model.family, signer)
    prompt = model.template.render(conversation.chat)
    if prompt.thinking_open and not conversation.must_think:
        # `adaptive` leaves it to the model; a template that opens the block itself would force it
        prompt = model.template.render(replace(conversation.chat, thinking=False))
    room_tokens = model.context_tokens - len(prompt.token_ids)
    if room_tokens < min(1, message.max_tokens):
        raise InvalidRequest(
            f"prompt is too long: {len(prompt.token_ids)} tokens > {model.context_tokens - 1} maximum",
            path="messages",
        )
    sampling = model.sampling
    generation = GenerationRequest(
        prompt_token_ids=prompt.token_ids,
        max_tokens=min(message.max_tokens, room_tokens),
        temperature=sampling.temperature if message.temperature is None else message.temperature,
        top_p=sampling.top_p if message.top_p is None else message.top_p,
        top_k=sampling.top_k if message.top_k is None else message.top_k,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        grammar=build_answer_grammar(replace(conversation.rules, thinking_open=prompt.thinking_open)),
        key_id=request.caller.key_id,
        priority=BACKGROUND if request.service_tier == "batch" else LIVE,
    )
    marked = _mark_prompt(message, model, prompt) if message.breakpoints else None
    return PreparedRequest(conversation, prompt, generation, room_tokens < message.max_tokens, marked)


def calls_tools(family: Family) -> bool:
    """Whether models of a family were taught a form for tool calls."""
    return bool(family.tool_open or family.bare_tool_calls)


def _mark_prompt(message: MessageRequest, model: Model, prompt: Prompt) -> MarkedPrompt:
    """A prompt as the prompt cache knows it."""
    marks = (
        CacheMark(mark.index, tokens, mark.hour)
        for mark, tokens in zip(message.breakpoints, prompt.positions, strict=True)
    )
    return MarkedPrompt(chain_prefixes(message, model.name), tuple(marks), len(prompt.token_ids))
