"""The official SDK against the server: what its users see."""

import anthropic
import msgspec
import pytest
from anthropic import AsyncAnthropic

from renga.errors import Overloaded, RateLimited
from renga.protocols.messages.blocks import TextBlock, ThinkingBlock, ToolUseBlock
from renga.protocols.messages.events.event_types import ErrorBody, ErrorEvent, Message, Ping, Usage
from renga.protocols.messages.events.message_split import split

ASK = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
RICH = Message(
    model="claude-haiku-5-5",
    id="msg_01abc",
    content=(
        ThinkingBlock("Let me see", "c2ln"),
        TextBlock("I will call both"),
        ToolUseBlock("toolu_1", "f", msgspec.Raw(b'{"a":1}')),
        ToolUseBlock("toolu_2", "g", msgspec.Raw(b"{}")),
    ),
    stop_reason="tool_use",
    usage=Usage(7, output_tokens=30),
)


@pytest.fixture
async def client(served):
    async with AsyncAnthropic(
        base_url=f"http://127.0.0.1:{served.port}", api_key="sk-renga-test", max_retries=2
    ) as sdk:
        yield sdk


async def test_streamed_and_whole_answers_are_the_same(served, client):
    async def script(call):
        for event in split(RICH):
            yield [event]

    served.provider.script = script
    whole = await client.messages.create(**ASK)
    async with client.messages.stream(**ASK) as stream:
        streamed = await stream.get_final_message()
    assert whole._request_id.startswith("req_")
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.input for block in whole.content[2:]] == [{"a": 1}, {}]
    first, second = whole.model_dump(), streamed.model_dump()
    for dump in (first, second):
        for block in dump["content"]:
            block.pop("parsed_output", None)
    assert first["content"] == second["content"]
    assert first["usage"]["output_tokens"] == second["usage"]["output_tokens"] == 30
    assert first["usage"]["input_tokens"] == second["usage"]["input_tokens"] == 7
    assert (first["stop_reason"], first["id"]) == (second["stop_reason"], second["id"])


async def test_an_error_in_mid_stream_is_raised(served, client):
    async def script(call):
        yield [event for event in split(RICH)[:4] if not isinstance(event, Ping)]
        yield [ErrorEvent(ErrorBody("overloaded_error", "The engine died."))]

    served.provider.script = script
    with pytest.raises(anthropic.APIStatusError, match="The engine died"):
        async with client.messages.stream(**ASK) as stream:
            await stream.get_final_message()


async def test_the_classes_of_errors(served, client):
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await client.messages.create(**{**ASK, "messages": []})
    with pytest.raises(anthropic.NotFoundError, match="no-such"):
        await client.messages.create(**{**ASK, "model": "no-such"})
    with pytest.raises(anthropic.AuthenticationError):
        await client.with_options(api_key="wrong").messages.create(**ASK)
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        await client.messages.create(**ASK, extra_body={"temperature": 0.5})
    served.ledger.refusal = RateLimited("Slow down.", retry_after_s=7)
    with pytest.raises(anthropic.RateLimitError) as caught:
        await client.with_options(max_retries=0).messages.create(**ASK)
    assert caught.value.response.headers["retry-after"] == "7"


async def test_a_full_queue_is_tried_again(served, client):
    async def script(call):
        if len(served.provider.calls) == 1:
            raise Overloaded("Full.", retry_after_s=0.01)
        yield split(RICH)

    served.provider.script = script
    assert (await client.messages.create(**ASK)).id == "msg_01abc"
    assert len(served.provider.calls) == 2


async def test_counting_and_models(client):
    counted = await client.messages.count_tokens(model="haiku", messages=ASK["messages"])
    assert counted.input_tokens == 7
    models = [model async for model in client.models.list(limit=2)]
    assert len({model.id for model in models}) == len(models) > 10
    model = await client.models.retrieve("claude-haiku-5-5")
    assert model.capabilities.thinking.supported is True
    assert model.line == "haiku"


async def test_threads_fall_back_to_whole_conversations(served, client):
    """The tool runner asks for a thread first; the refusal's code tells it to send the whole conversation instead."""

    async def script(call):
        done = len(call.message.messages) > 1
        answer = msgspec.structs.replace(RICH, content=RICH.content[1:2] if done else RICH.content[2:3])
        yield split(msgspec.structs.replace(answer, stop_reason="end_turn" if done else "tool_use"))

    @anthropic.beta_async_tool
    async def f(a: int) -> str:
        """A tool.

        Args:
            a: A number.
        """
        return f"got {a}"

    served.provider.script = script
    runner = client.beta.messages.tool_runner(**ASK, tools=[f])
    final = await runner.until_done()
    assert final.content[0].text == "I will call both"
    assert [len(call.message.messages) for call in served.provider.calls] == [1, 3]
