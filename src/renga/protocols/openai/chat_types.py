"""chat.completions as values: the request that is sent and the chunks that come back.

Owns: the types, in that API's spelling.
Must never know: Messages; the two are joined in `protocols/openai/chat_request.py` and
`protocols/openai/chat_stream.py`.
Invariants: a field that no server needs is not here; what a chunk has beyond these fields is passed over.

Source: OpenAI chat.completions reference; vLLM (`reasoning`, `stop_reason`); llama.cpp (`reasoning_content`).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """A piece of text in a message of several parts."""

    text: str


class ImageUrl(Struct, frozen=True):
    """Where an image is: an address, or a data URL that holds it."""

    url: str


class ImagePart(Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image in a message of several parts."""

    image_url: ImageUrl


Part: TypeAlias = TextPart | ImagePart


class CalledFunction(Struct, frozen=True):
    """The function that a model calls, and with which arguments."""

    name: str
    arguments: str
    """A JSON object, as text."""


class ToolCall(Struct, frozen=True):
    """One call of a function in a message of the assistant."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class ChatMessage(Struct, frozen=True, omit_defaults=True):
    """One message of the conversation that is sent."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class FunctionTool(Struct, frozen=True, omit_defaults=True):
    """A function that the model may call, with the schema of its arguments."""

    name: str
    parameters: msgspec.Raw
    description: str | None = None
    strict: bool | None = None


class ChatTool(Struct, frozen=True):
    """An entry of `tools`: always a function here."""

    function: FunctionTool
    type: Literal["function"] = "function"


class NamedFunction(Struct, frozen=True):
    """The name of the one function that must be called."""

    name: str


class NamedChoice(Struct, frozen=True):
    """The choice that forces a call of one function."""

    function: NamedFunction
    type: Literal["function"] = "function"


class NamedSchema(Struct, frozen=True):
    """A JSON schema for the answer, under the name that the API wants."""

    name: str
    schema: msgspec.Raw
    strict: bool


class SchemaFormat(Struct, frozen=True):
    """Asks for an answer that a JSON schema allows."""

    json_schema: NamedSchema
    type: Literal["json_schema"] = "json_schema"


class StreamOptions(Struct, frozen=True):
    """Asks for the usage in the last chunk of a stream."""

    include_usage: bool = True


class ChatRequest(Struct, frozen=True, omit_defaults=True):
    """A request; always streamed, because the stream is the truth."""

    model: str
    messages: tuple[ChatMessage, ...]
    stream: bool
    stream_options: StreamOptions | UnsetType = UNSET
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[ChatTool, ...] = ()
    tool_choice: Literal["required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: SchemaFormat | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, bool] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None


class FunctionDelta(Struct, frozen=True):
    """More of a function's name or of its arguments."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """Text; some servers send the object itself, whole."""


class ToolCallDelta(Struct, frozen=True):
    """More of one call, told from the others by its index."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None


class ChoiceDelta(Struct, frozen=True):
    """What a chunk adds to the answer, or a whole answer."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] | None = None


class Choice(Struct, frozen=True):
    """The one answer that is asked for, or the chunk's part of it."""

    delta: ChoiceDelta | None = None
    message: ChoiceDelta | None = None
    """In place of `delta`, from a server that answered without streaming."""
    index: int = 0
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """vLLM: the stop string, or the id of the token, that ended the answer."""


class PromptDetails(Struct, frozen=True):
    """How many of a prompt's tokens were read from a cache."""

    cached_tokens: int | None = None


class CompletionDetails(Struct, frozen=True):
    """How many of an answer's tokens were reasoning."""

    reasoning_tokens: int | None = None


class ChatUsage(Struct, frozen=True):
    """Here the prompt's count contains the cached tokens, and the completion's the reasoning."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Chunk(Struct, frozen=True):
    """One event of a stream, or a whole answer."""

    choices: tuple[Choice, ...] | None = None
    usage: ChatUsage | None = None
    error: Any = None


class ModelEntry(Struct, frozen=True):
    """One of the models that a server says it has."""

    id: str
    owned_by: str | None = None
    max_model_len: int | None = None


class ChatModelList(Struct, frozen=True):
    """All the models that a server says it has."""

    data: tuple[ModelEntry, ...] = ()


decode_chunk = msgspec.json.Decoder(Chunk).decode
encode_chat = msgspec.json.Encoder().encode
