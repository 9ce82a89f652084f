"""Documents and search results as the text that a model reads, where it reads nothing but text.

Owns: how such blocks are written into a prompt. Must never know: which model reads it.
Invariant: what is not text is refused by its path, never left out.
"""

from __future__ import annotations

import msgspec

from renga.errors import InvalidRequest
from renga.protocols.messages import blocks


def render_document(block: blocks.DocumentBlock, path: str) -> str:
    """A document, with its title and context.

    Raises: InvalidRequest if its source is not text.
    """
    match block.source:
        case blocks.PlainTextSource(data=text):
            body = text
        case blocks.ContentSource(content=str() as text):
            body = text
        case blocks.ContentSource(content=tuple() as raws):
            body = "\n".join(_raw_text(raw, f"{path}.source.content.{at}") for at, raw in enumerate(raws))
        case _:
            raise InvalidRequest(
                "This model reads documents as plain text only.",
                path=f"{path}.source.type",
                hint="send a `text` source, or ask for a tier that reads PDFs",
            )
    title = f' title="{block.title}"' if block.title else ""
    context = f"{block.context}\n" if block.context else ""
    return f"<document{title}>\n{context}{body}\n</document>"


def render_search_result(block: blocks.SearchResultBlock) -> str:
    """A search result, with where it is from."""
    body = "\n".join(part.text for part in block.content)
    return f'<search_result source="{block.source}" title="{block.title}">\n{body}\n</search_result>'


def _raw_text(raw: msgspec.Raw, path: str) -> str:
    try:
        return msgspec.json.decode(raw, type=blocks.TextBlock).text
    except msgspec.MsgspecError as error:
        raise InvalidRequest("This model reads only text in documents.", path=path) from error
