"""What the models behind the Messages API can do, by the beginning of their names.

Owns: limits and abilities of each line of models.
Must never know: HTTP, keys, how a request is sent.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from renga.config import ProviderSettings
from renga.models.providers.provider_seam import Capabilities
from renga.protocols.messages.rules.required_features import FEATURE_FIELDS, NESTED_FEATURES

SERVER_TOOLS = frozenset(
    {"web_search", "web_fetch", "code_execution", "tool_search_tool_bm25", "tool_search_tool_regex"}
)
CLIENT_TOOLSETS = frozenset({"browser_toolset", "computer_toolset"})
"""Run by the client, but only models of this family know them; they are asked for like server tools."""


class ModelLine(Struct, frozen=True):
    """What the models whose id begins so can do, beyond what all of them can."""

    prefix: str
    max_input_tokens: int = 1_000_000
    max_output_tokens: int = 128_000
    prefill: bool = False
    effort: bool = True


MODEL_LINES: tuple[ModelLine, ...] = (
    ModelLine("claude-haiku-4-5", 200_000, 64_000, prefill=True, effort=False),
    ModelLine("claude-sonnet-4-5", 200_000, 64_000, prefill=True, effort=False),
    ModelLine("claude-opus-4-5", 200_000, 64_000, prefill=True),
    ModelLine("claude-"),
)
"""First match wins. Prefill ended with 4.6.

Source: docs/reference/messages-api.md, "Request fields" and "Model ids and prices"; limits of the 4.5 models: public
documentation "Models overview".
"""

OTHER_MODELS = ModelLine("", effort=False)
"""Models of other makers behind the same API."""


@lru_cache(maxsize=1_024)
def find_line(model: str) -> str:
    """The prefix of the line that a model is of."""
    return next((line.prefix for line in MODEL_LINES if model.startswith(line.prefix)), OTHER_MODELS.prefix)


def line_capabilities(line: ModelLine, settings: ProviderSettings) -> Capabilities:
    """What the models of a line can do, within the limits that were set."""
    return Capabilities(
        max_input_tokens=min(line.max_input_tokens, settings.max_input_tokens),
        max_output_tokens=min(line.max_output_tokens, settings.max_output_tokens),
        tools=True,
        structured_outputs=True,
        thinking=True,
        images=True,
        pdfs=True,
        citations=True,
        prefill=line.prefill,
        effort=line.effort,
        files=True,
        fields=frozenset({*FEATURE_FIELDS, *NESTED_FEATURES}),
        server_tools=SERVER_TOOLS | CLIENT_TOOLSETS,
    )
