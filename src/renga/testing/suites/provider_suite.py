"""One conformance suite for every provider: subclass `ProviderSuite`, give it a harness, and pytest runs the rest.

Owns: what `models/providers/provider_seam.py` promises, as tests. Must never know: which provider it runs.
Invariant: what an implementation cannot be made to do (an engine has no HTTP status), its harness says by
`NotApplicable`; that test is skipped by name, never passed in silence.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol, cast
from unittest import SkipTest

from renga.errors import RengaError
from renga.models.providers.provider_seam import Provider
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.event_types import Batch, ErrorEvent, Message
from renga.protocols.messages.sse import encode_batch
from renga.testing.provider_calls import ProviderCall
from renga.testing.stream_checker import StreamChecker

LEAVING_BUDGET_S = 2.0
"""The other end must notice a client that left within this. It takes milliseconds and may take 0.2 s; a busy machine
has ten times that, which is still less than any timeout that would end the request otherwise."""

MAX_RETRIES = 2
"""What the provider under test must be set to."""

STATUSES: dict[int, str] = {
    400: "invalid_request_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
"""What an upstream's status becomes for our client."""


class NotApplicable(SkipTest):
    """This provider cannot be brought into that state."""


class Harness(Protocol):
    """A provider that is started, and the means to make its other end behave."""

    provider: Provider

    def call(self, *, streamed: bool = True) -> ProviderCall:
        """A call that what was arranged will answer."""
        ...

    def answer(self) -> None:
        """Arrange: the next answer is whole, and not empty."""
        ...

    def stall(self, *, after_first: bool) -> None:
        """Arrange: the next answer falls silent, before anything or after its first event."""
        ...

    def die(self) -> None:
        """Arrange: the next answer begins, and its other end dies in the middle."""
        ...

    def refuse(self, status: int) -> None:
        """Arrange: the next answer is this HTTP error. Raises NotApplicable where there is no HTTP."""
        ...

    def arrange_count(self) -> None:
        """Arrange: the next count of tokens is what the next answer says it used."""
        ...

    async def wait_asked(self) -> None:
        """Return when the other end has been asked, once."""
        ...

    async def wait_left(self) -> None:
        """Return when the other end has noticed that nobody reads its answer any more."""
        ...

    @property
    def times_asked(self) -> int:
        """How often the other end was asked for an answer."""
        ...


async def read_all(
    batches: AsyncIterator[Batch], *, prompt_settles: bool = False
) -> tuple[StreamChecker, MessageAccumulator]:
    """Read a stream to its end, checking every byte that a client would read."""
    checker, folder = StreamChecker(prompt_settles=prompt_settles), MessageAccumulator()
    ended_in_error = False
    async for batch in batches:
        assert batch, "an empty batch"
        checker.push(encode_batch(batch))
        for event in batch:
            assert not ended_in_error, "an event after the error"
            ended_in_error = isinstance(event, ErrorEvent)
            if not ended_in_error:
                folder.add_event(event)
    checker.finish()
    return checker, folder


def prompt_tokens(message: Message) -> int:
    """The three disjoint counts of a prompt, together."""
    usage = message.usage
    return usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)


async def within(budget_s: float, done: Awaitable[None]) -> float:
    """Wait for something, and return how long it took."""
    start = time.monotonic()
    await asyncio.wait_for(done, budget_s * 10)
    return time.monotonic() - start


class ProviderSuite(ABC):
    """The promises of the seam. Test functions are coroutines: pytest-asyncio in auto mode runs them."""

    prompt_settles = False
    """Whether the provider learns a prompt's exact counts only at the answer's end."""

    async def read(self, harness: Harness, *, streamed: bool = True) -> tuple[StreamChecker, MessageAccumulator]:
        """Send the harness's call and read the whole answer."""
        batches = harness.provider.send(*harness.call(streamed=streamed))
        return await read_all(batches, prompt_settles=self.prompt_settles)

    @abstractmethod
    def open_harness(self) -> AbstractAsyncContextManager[Harness]:
        """A started provider and its other end; both are closed on the way out."""

    async def test_an_answer_is_a_stream_in_order(self) -> None:
        async with self.open_harness() as harness:
            harness.answer()
            checker, folder = await self.read(harness)
            assert folder.message().content
            assert checker.kinds[-1] == "message_stop"

    async def test_streaming_or_not_the_message_is_the_same(self) -> None:
        async with self.open_harness() as harness:
            messages: list[Message] = []
            for streamed in (True, False):
                harness.answer()
                _, folder = await self.read(harness, streamed=streamed)
                messages.append(folder.message())
            first, second = messages
            assert [type(block) for block in first.content] == [type(block) for block in second.content]
            assert first.stop_reason == second.stop_reason
            assert first.usage.output_tokens == second.usage.output_tokens
            assert prompt_tokens(first) == prompt_tokens(second)

    async def test_the_counts_of_a_prompt_are_disjoint_and_add_up(self) -> None:
        async with self.open_harness() as harness:
            harness.arrange_count()
            counted = await harness.provider.count_tokens(*harness.call().count_arguments())
            harness.answer()
            _, folder = await self.read(harness)
            assert prompt_tokens(folder.message()) == counted > 0

    async def test_leaving_in_the_middle_stops_the_other_end(self) -> None:
        async with self.open_harness() as harness:
            harness.stall(after_first=True)
            async with aclosing(cast("_Closable", harness.provider.send(*harness.call()))) as batches:
                assert await anext(batches)
            assert await within(LEAVING_BUDGET_S, harness.wait_left()) < LEAVING_BUDGET_S

    async def test_leaving_before_the_first_event_stops_the_other_end(self) -> None:
        async with self.open_harness() as harness:
            harness.stall(after_first=False)
            waiting = asyncio.ensure_future(anext(harness.provider.send(*harness.call())))
            await harness.wait_asked()
            waiting.cancel()
            assert await within(LEAVING_BUDGET_S, harness.wait_left()) < LEAVING_BUDGET_S
            await asyncio.gather(waiting, return_exceptions=True)

    async def test_a_death_in_the_middle_is_an_error_event(self) -> None:
        async with self.open_harness() as harness:
            harness.die()
            checker, _ = await self.read(harness)
            assert checker.kinds[0] == "message_start"
            assert checker.kinds[-1] == "error"
            assert harness.times_asked == 1, "an answer that had begun was asked for again"

    async def test_stopping_ends_what_is_in_flight(self) -> None:
        async with self.open_harness() as harness:
            harness.stall(after_first=True)
            batches = harness.provider.send(*harness.call())
            last = await anext(batches)
            reading = asyncio.ensure_future(_read_rest(batches, last))
            await asyncio.sleep(0)
            await harness.provider.stop()
            await harness.provider.stop()
            last = await asyncio.wait_for(reading, 5)
            assert isinstance(last[-1], ErrorEvent)
            assert not harness.provider.health().ready

    async def test_a_refusal_becomes_the_error_that_clients_know(self) -> None:
        for status, error_type in STATUSES.items():
            async with self.open_harness() as harness:
                for _ in range(1 + MAX_RETRIES):
                    harness.refuse(status)
                error = await _first_error(harness)
                assert error.type == error_type, f"{status} became {error.type}"
                assert error.message

    async def test_our_own_key_being_refused_is_no_fault_of_the_client(self) -> None:
        async with self.open_harness() as harness:
            harness.refuse(401)
            error = await _first_error(harness)
            assert error.status == 500
            assert error.retryable
            assert error.hint

    async def test_a_refusal_is_retried_before_the_first_event(self) -> None:
        async with self.open_harness() as harness:
            harness.refuse(529)
            harness.answer()
            _, folder = await self.read(harness)
            assert folder.message().content
            assert harness.times_asked == 2

    async def test_it_can_be_asked_what_it_is(self) -> None:
        async with self.open_harness() as harness:
            assert harness.provider.health().ready
            capabilities = harness.provider.capabilities(harness.call().model)
            assert capabilities.max_input_tokens > 0
            assert capabilities.max_output_tokens > 0


class _Closable(Protocol):
    async def aclose(self) -> None: ...
    async def __anext__(self) -> Batch: ...


async def _read_rest(batches: AsyncIterator[Batch], last: Batch) -> Batch:
    async for batch in batches:
        last = batch
    return last


async def _first_error(harness: Harness) -> RengaError:
    """The error with which a call ends before its first batch."""
    try:
        await anext(harness.provider.send(*harness.call()))
    except RengaError as error:
        return error
    raise AssertionError("the call was answered")
