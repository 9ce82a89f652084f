"""Settings of the caches: prompt prefixes, and whole answers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from renga.config.kinds import Positive


class CacheSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered between requests: prompt prefixes, and whole answers where a key opts in."""

    automatic_breakpoints: Annotated[
        bool, Meta(description="Whether breakpoints are set for Anthropic targets, where none are and they pay.")
    ] = True
    minimum_tokens: Annotated[Positive, Meta(description="Shortest prefix that the local model caches.")] = 512
    hide_shared_prefixes: Annotated[
        bool,
        Meta(description="Whether a prefix that only other owners sent takes as long as a new one on the local model."),
    ] = True
    responses: Annotated[bool, Meta(description="Whether whole answers are cached for every key, not opted in.")] = (
        False
    )
    response_ttl_s: Annotated[float, Meta(description="How long a stored answer is given again.", gt=0)] = 300.0
    stale_if_error_s: Annotated[
        float, Meta(description="How much longer it is given where every target is down; 0: never.", ge=0)
    ] = 3600.0
    response_bytes: Annotated[int, Meta(description="Memory for stored answers.", ge=0)] = 64 << 20
