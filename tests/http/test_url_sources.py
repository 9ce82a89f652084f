"""Renga fetches nothing that a request names: a URL is handed on to a target that can fetch it, or refused."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from .conftest import KEY


@asynccontextmanager
async def bait():
    """A server that counts who comes; its address, and the count."""
    visitors = []

    async def note(_reader, writer):
        visitors.append(writer.get_extra_info("peername"))
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret", visitors


def naming(url, kind):
    block = {"type": kind, "source": {"type": "url", "url": url}}
    inside = {"type": "document", "source": {"type": "content", "content": [{**block, "type": "image"}]}}
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    turns = [
        {"role": "user", "content": [block, inside] if kind == "image" else [block]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [block]}]},
    ]
    return {"model": "haiku", "max_tokens": 9, "messages": turns}


@pytest.mark.parametrize("kind", ["image", "document"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_what_no_target_can_fetch_is_refused_and_not_fetched(served, kind, path):
    async with bait() as (url, visitors):
        response = await served.ask("POST", path, naming(url, kind))
        assert response.status == 400
        assert response.json()["error"]["message"].startswith("messages.0.content.0")
        assert visitors == served.provider.calls == []


@pytest.mark.parametrize("kind", ["image", "document"])
async def test_a_target_that_can_gets_the_url_as_it_came(served, kind):
    served.provider.can = replace(served.provider.can, images=True, pdfs=True)
    async with bait() as (url, visitors):
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            assert (await served.ask("POST", path, naming(url, kind))).status == 200
        assert visitors == []
    for call in served.provider.calls:
        assert call.message.messages[0].content[0].source.url == url
        assert url.encode() in call.body


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "gopher://x"])
async def test_addresses_of_this_machine_are_nothing_special_to_who_fetches_nothing(served, url):
    assert (await served.ask("POST", "/v1/messages", naming(url, "document"), KEY)).status == 400
