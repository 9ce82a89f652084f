"""The line that some clients put at the head of the system prompt for their own bills, new with every request.

Owns: what the line looks like and where it stands. Must never know: caches, targets.
Invariant: nothing but that one line is ever left out, and only at the very head.

It says nothing to a model, and left in place it makes every prompt new from its first token.

Source: docs/reference/messages-api.md, "Claude Code as a client"; vLLM drops it, llama.cpp makes it constant.
"""

from __future__ import annotations

from renga.protocols.messages.blocks import TextBlock

BILLING_LINE = "x-anthropic-billing-header:"


def strip_billing_line(text: str) -> str:
    """The text without the line, if it begins with it."""
    return text.partition("\n")[2] if text.startswith(BILLING_LINE) else text


def system_texts(system: str | tuple[TextBlock, ...] | None) -> list[str]:
    """The texts of a system prompt, one a block, as a model should read them. Blocks keep their places: "" is one."""
    if not system:
        return []
    texts = [system] if isinstance(system, str) else [block.text for block in system]
    texts[0] = strip_billing_line(texts[0])
    return texts
