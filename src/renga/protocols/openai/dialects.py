"""How servers of chat.completions differ, as a table: one row a server, and no branches elsewhere.

Owns: the rows, and how a server is told from another.
Must never know: requests or streams; `protocols/openai/chat_request.py` and `protocols/openai/chat_stream.py` walk
these rows.
Invariant: a server that is not known gets the row with the fewest extras.

Source: the servers' public references: OpenAI chat.completions; vLLM "OpenAI-Compatible Server"; llama.cpp tools/server
README; Ollama "OpenAI compatibility" and its issue 17921 (tool_choice is ignored, 0.32.15); llama.cpp reads a named
tool_choice as `auto` (notes of langchain-llama-cpp, build b11429).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

Counting: TypeAlias = Literal["tokenize_chat", "tokenize_template", "ask", "estimate"]
"""How a prompt's tokens are counted beforehand: by a route that takes messages (vLLM), by rendering the template and
then tokenizing (llama.cpp), by asking for one token and reading the usage, or by length."""


class Dialect(Struct, frozen=True):
    """How one kind of OpenAI-compatible server differs from the others."""

    name: str
    owners: frozenset[str] = frozenset()
    """What `owned_by` says in its list of models."""
    hosts: frozenset[str] = frozenset()
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    top_k: bool = False
    max_stop_sequences: int | None = None
    parallel_tool_calls: bool = False
    """Whether it obeys `parallel_tool_calls`."""
    forced_tools: bool = True
    """Whether it obeys `tool_choice: required`."""
    named_tools: bool = False
    """Whether it obeys a tool_choice that names one; elsewhere only that tool is offered, and required."""
    strict_tools: bool = False
    efforts: Mapping[str, str] = {}
    """Its word for each of our efforts; without one none is sent."""
    no_effort: str | None = None
    """Its word for no reasoning at all."""
    template_thinking: bool = False
    """Whether `chat_template_kwargs.enable_thinking` reaches the chat template."""
    reasoning_key: Literal["reasoning", "reasoning_content"] | None = None
    """Under which name an assistant message carries its reasoning back."""
    late_system: Literal["system", "user"] = "user"
    """How a system message mid-conversation is sent: many chat templates refuse one that is not first."""
    prefill: Literal["none", "natural", "flag"] = "none"
    """Whether a last assistant message is continued: never, always, or with vLLM's pair of flags."""
    remote_images: bool = True
    """Whether images may be given by URL."""
    counting: Counting = "ask"


_THREE_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

GENERIC = Dialect("generic", efforts={})

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "openai",
        hosts=frozenset({"api.openai.com"}),
        max_tokens_key="max_completion_tokens",
        max_stop_sequences=4,
        parallel_tool_calls=True,
        named_tools=True,
        strict_tools=True,
        efforts={**_THREE_EFFORTS, "xhigh": "xhigh", "max": "xhigh"},
        late_system="system",
        counting="estimate",
    ),
    Dialect(
        "vllm",
        owners=frozenset({"vllm"}),
        top_k=True,
        parallel_tool_calls=True,
        named_tools=True,
        efforts=_THREE_EFFORTS,
        template_thinking=True,
        reasoning_key="reasoning",
        prefill="flag",
        counting="tokenize_chat",
    ),
    Dialect(
        "llama.cpp",
        owners=frozenset({"llamacpp"}),
        top_k=True,
        parallel_tool_calls=True,
        template_thinking=True,
        reasoning_key="reasoning_content",
        prefill="natural",
        counting="tokenize_template",
    ),
    Dialect(
        "ollama",
        owners=frozenset({"library", "ollama"}),
        forced_tools=False,
        efforts=_THREE_EFFORTS,
        no_effort="none",
        reasoning_key="reasoning",
        prefill="natural",
        remote_images=False,
    ),
    Dialect(
        "sglang", owners=frozenset({"sglang"}), top_k=True, template_thinking=True, reasoning_key="reasoning_content"
    ),
    GENERIC,
)


def detect_dialect(host: str, owned_by: str | None) -> Dialect:
    """The row for a server, by its host and by what its list of models says."""
    for dialect in DIALECTS:
        if host in dialect.hosts or (owned_by is not None and owned_by in dialect.owners):
            return dialect
    return GENERIC
