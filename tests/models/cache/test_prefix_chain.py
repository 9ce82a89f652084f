"""What changes a prefix's digest, and what does not."""

from __future__ import annotations

from typing import Any

import msgspec

from renga.models.cache.prefix_chain import chain_prefixes, render_prompt
from renga.protocols.messages.decode import decode_request

TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": [{"type": "text", "text": "Go on"}]},
]


def chain(**fields: Any) -> tuple[bytes, ...]:
    default = {"model": "haiku", "max_tokens": 5, "tools": TOOLS, "system": "Be kind.", "messages": TURNS}
    return chain_prefixes(decode_request(msgspec.json.encode({**default, **fields}), "2023-06-01"), "hokku")


def shared(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> int:
    """How many leading blocks have the same digest."""
    return sum(1 for left, right in zip(one, other, strict=False) if left == right)


def test_one_digest_a_block():
    assert len(chain()) == len(set(chain())) == 5


def test_breakpoints_and_spelling_change_nothing():
    control = {"cache_control": {"type": "ephemeral"}}
    marked = chain(
        tools=[TOOLS[0] | control],
        system=[{"type": "text", "text": "Be kind."} | control],
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"} | control]}, *TURNS[1:]],
    )
    assert marked == chain()
    assert chain(cache_control={"type": "ephemeral"}, metadata={"user_id": "u"}, max_tokens=9) == chain()


def test_a_billing_line_changes_nothing():
    line = "x-anthropic-billing-header: cch={};"
    assert chain(system=f"{line.format(1)}\nBe kind.") == chain()
    blocks = [[{"type": "text", "text": line.format(n)}, {"type": "text", "text": "Be kind."}] for n in (1, 2)]
    assert chain(system=blocks[0]) == chain(system=blocks[1])


def test_what_a_change_invalidates():
    assert shared(chain(), chain(tools=[])) == 0
    assert shared(chain(), chain(system="Be brief.")) == 1
    assert shared(chain(), chain(tool_choice={"type": "any"})) == 2
    assert shared(chain(), chain(thinking={"type": "adaptive"})) == 2
    assert shared(chain(), chain(messages=[*TURNS[:2], {"role": "user", "content": "Stop"}])) == 4


def test_models_share_nothing():
    request = decode_request(
        msgspec.json.encode({"model": "haiku", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}),
        "2023-06-01",
    )
    assert chain_prefixes(request, "a") != chain_prefixes(request, "b")


def test_the_rendered_prompt_grows_at_its_end():
    def rendered(turns: list[dict[str, Any]]) -> bytes:
        body = {"model": "haiku", "max_tokens": 5, "system": "s", "messages": turns}
        return b"".join(render_prompt(decode_request(msgspec.json.encode(body), "2023-06-01")))

    assert rendered(TURNS).startswith(rendered(TURNS[:1]))
