"""The tokens of a prompt for servers of chat.completions, before they answer.

Owns: the routes by which each server can be asked, and the guess where it cannot.
Must never know: events, retries.
Invariant: a count that fails never fails the request it was for.

Source: vLLM `/tokenize`, llama.cpp `/apply-template` and `/tokenize` (their server references).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from renga.errors import ApiError, InvalidRequest, RengaError
from renga.models.providers.transport.retry import UpstreamRefusal
from renga.models.providers.transport.upstream_client import UpstreamResponse
from renga.protocols.openai.chat_types import ChatMessage, ChatRequest, ChatTool, Chunk, TextPart, encode_chat
from renga.protocols.openai.dialects import Dialect

Post: TypeAlias = Callable[[str, bytes], Awaitable[UpstreamResponse]]
"""Path and body to a response of status 200. Raises Refusal, RengaError."""

Shape = TypeVar("Shape")

CHARACTERS_PER_TOKEN = 4
"""English prose is near 4.5 characters a token in common vocabularies, JSON and code near 3."""
MESSAGE_TOKENS = 4
"""What common chat templates write around a message."""
IMAGE_TOKENS = 1000
"""A picture of a megapixel takes 700 to 1600 in common vision models."""

COUNT_TIMEOUT_S = 2.0
"""How long a count may keep the first event of an answer waiting; then the estimate goes out."""


class _Tokenize(Struct, frozen=True, omit_defaults=True):
    """vLLM's `/tokenize`, in its chat form."""

    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ChatTool, ...] = ()
    chat_template_kwargs: dict[str, bool] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None


class _TokenCount(Struct, frozen=True):
    count: int


class _Template(Struct, frozen=True, omit_defaults=True):
    """The body of a request to llama.cpp's `/apply-template`."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ChatTool, ...] = ()
    chat_template_kwargs: dict[str, bool] | None = None


class _Prompt(Struct, frozen=True):
    prompt: str


class _TokenizeText(Struct, frozen=True):
    content: str
    add_special: bool = True
    parse_special: bool = True


class _Tokens(Struct, frozen=True):
    tokens: list[int]


class Fitted(Struct, frozen=True):
    """A request that its model's context can hold."""

    chat: ChatRequest
    input_tokens: int | None
    """As counted for it; None where there was no need to."""


class TokenCounter:
    """Counts by whatever means a server has."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def count(self, chat: ChatRequest, dialect: Dialect) -> int:
        """The prompt's tokens, as exact as this server allows.

        Raises: Refusal, RengaError where the count is itself a request for an answer.
        """
        exact = await self.tokenize(chat, dialect)
        if exact is not None:
            return exact
        if dialect.counting == "ask":
            return await self._ask(chat)
        return estimate_tokens(chat)

    async def fit(self, chat: ChatRequest, dialect: Dialect, context_tokens: int | None) -> Fitted:
        """Lower the answer's limit to what the prompt leaves of the context.

        vLLM refuses a request whose prompt and limit together exceed it, and agents ask for 32 k tokens and more of any
        model. An answer that ends at the lowered limit says `model_context_window_exceeded`.

        Raises: InvalidRequest when the prompt alone is too long.
        """
        limit = chat.max_tokens or chat.max_completion_tokens or 1
        guess = estimate_tokens(chat)
        if context_tokens is None or limit + guess * CHARACTERS_PER_TOKEN <= context_tokens:
            return Fitted(chat, None)
        input_tokens = await self.tokenize(chat, dialect) or guess
        room = context_tokens - input_tokens
        if room < 1:
            raise InvalidRequest(
                f"prompt is too long: {input_tokens} tokens > {context_tokens - 1} maximum", path="messages"
            )
        if chat.max_tokens is not None:
            chat = replace(chat, max_tokens=min(limit, room))
        else:
            chat = replace(chat, max_completion_tokens=min(limit, room))
        return Fitted(chat, input_tokens)

    def start(self, chat: ChatRequest, dialect: Dialect) -> asyncio.Task[int | None] | None:
        """Begin to count beside a request; None where the server has no route for it."""
        if not dialect.counting.startswith("tokenize"):
            return None
        return asyncio.create_task(self.tokenize(chat, dialect))

    async def result(self, counting: asyncio.Task[int | None] | None) -> int | None:
        """What `start` began, given a little more time."""
        if counting is None:
            return None
        await asyncio.wait({counting}, timeout=COUNT_TIMEOUT_S)
        return counting.result() if counting.done() else None

    async def tokenize(self, chat: ChatRequest, dialect: Dialect) -> int | None:
        """The prompt's tokens by the server's own tokenizer; None where it has no route or does not answer."""
        try:
            if dialect.counting == "tokenize_chat":
                ask = _Tokenize(
                    chat.model,
                    chat.messages,
                    chat.tools,
                    chat.chat_template_kwargs,
                    chat.continue_final_message,
                    chat.add_generation_prompt,
                )
                return (await self._fetch("/tokenize", ask, _TokenCount)).count
            if dialect.counting == "tokenize_template":
                template = _Template(chat.messages, chat.tools, chat.chat_template_kwargs)
                prompt = (await self._fetch("/apply-template", template, _Prompt)).prompt
                return len((await self._fetch("/tokenize", _TokenizeText(prompt), _Tokens)).tokens)
        except (RengaError, UpstreamRefusal):
            pass
        return None

    async def _ask(self, chat: ChatRequest) -> int:
        """Ask for one token, and read what the prompt cost."""
        one = replace(
            chat,
            stream=False,
            stream_options=UNSET,
            max_tokens=1 if chat.max_tokens is not None else None,
            max_completion_tokens=1 if chat.max_completion_tokens is not None else None,
        )
        answer = await self._fetch("/v1/chat/completions", one, Chunk)
        return answer.usage.prompt_tokens if answer.usage else estimate_tokens(chat)

    async def _fetch(self, path: str, value: Struct, shape: type[Shape]) -> Shape:
        async with await self._post(path, encode_chat(value)) as response:
            body = await response.read()
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:
            raise ApiError(f"{path} gave an answer that cannot be read.") from error


def estimate_tokens(chat: ChatRequest) -> int:
    """A guess at a prompt's tokens, from the length of what the model reads."""
    characters = len(encode_chat(chat.tools)) if chat.tools else 0
    tokens = 0
    for message in chat.messages:
        tokens += MESSAGE_TOKENS
        content = message.content
        if isinstance(content, str):
            characters += len(content)
        else:
            for part in content or ():
                if isinstance(part, TextPart):
                    characters += len(part.text)
                else:
                    tokens += IMAGE_TOKENS
        for call in message.tool_calls:
            characters += len(call.function.name) + len(call.function.arguments)
    return tokens + characters // CHARACTERS_PER_TOKEN + 1
