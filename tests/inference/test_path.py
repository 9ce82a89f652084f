"""The one path: order, fallback before the first event, and that every lease is settled exactly once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from tests.inference.book import MESSAGE, LedgerBook

from renga.clock import SystemClock
from renga.domain.reasons import render_reasons
from renga.errors import ApiError, InvalidRequest, NotFound, Overloaded, RengaError
from renga.inference import Answer, Caller, InferenceRequest, Services, answer, count_tokens
from renga.models.providers.provider_seam import Capabilities, ProviderHealth, Target
from renga.protocols.messages.blocks import Base64Source, ImageBlock
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.event_types import Batch, ErrorEvent, Message
from renga.protocols.messages.events.message_split import split
from renga.protocols.messages.request import MessageRequest, Turn
from renga.routing.catalog.catalog import Catalog
from renga.routing.router import Router

Script = Callable[[InferenceRequest], AsyncIterator[Batch]]


class Scripted:
    """A provider that does what a script says, and remembers whether its stream was closed."""

    def __init__(self, script: Script, *, ready: bool = True) -> None:
        self._script = script
        self._ready = ready
        self.calls: list[InferenceRequest] = []
        self.closed = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        self.calls.append(request)
        try:
            async for batch in self._script(request):
                yield batch
        finally:
            self.closed += 1

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        async for _ in self._script(request):
            break
        return 7

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(max_input_tokens=1000, max_output_tokens=1000)

    def health(self, model: str = "") -> ProviderHealth:
        return ProviderHealth(self._ready, "" if self._ready else "resting")

    async def models(self) -> tuple[str, ...]:
        return ()


async def hello(request: InferenceRequest) -> AsyncIterator[Batch]:
    for event in split(MESSAGE):
        yield [event]


def failing(error: RengaError) -> Script:
    async def script(request: InferenceRequest) -> AsyncIterator[Batch]:
        raise error
        yield []

    return script


def cut(after: int, error: RengaError | None = None) -> Script:
    async def script(request: InferenceRequest) -> AsyncIterator[Batch]:
        for event in split(MESSAGE)[:after]:
            yield [event]
        if error:
            raise error

    return script


class Scene:
    """One haiku tier over scripted providers."""

    def __init__(self, **providers: Scripted) -> None:
        self.providers = providers
        self.ledger = LedgerBook()
        targets = tuple(Target(name, "m") for name in providers)
        catalog = Catalog({"haiku": targets}, providers, ())
        self.parts = Services(providers, Router(catalog, providers), self.ledger, SystemClock())  # type: ignore[arg-type]

    def ask(self, *, model: str = "haiku", content: str | tuple = "Hi") -> InferenceRequest:
        message = MessageRequest(model=model, messages=(Turn("user", content),), max_tokens=10)
        return InferenceRequest(message, b"{}", Caller("key_1"), "req_1", "messages", SystemClock().monotonic_ns())

    async def answer(self, **wishes: str) -> Answer:
        return await answer(self.ask(**wishes), self.parts)


async def read(answered: Answer) -> Message:
    folder = MessageAccumulator()
    async for batch in answered:
        for event in batch:
            folder.add_event(event)
    return folder.message()


async def test_an_answer_is_folded_and_settled_once() -> None:
    scene = Scene(local=Scripted(hello))
    answered = await scene.answer()
    assert scene.ledger.open
    assert await read(answered) == MESSAGE
    await answered.close()
    assert not scene.ledger.open
    (outcome,) = scene.ledger.outcomes
    assert (outcome.status, outcome.target, outcome.tier, render_reasons(outcome.reasons)) == (
        "succeeded",
        "local/m",
        "haiku",
        "tier:haiku",
    )
    assert outcome.usage is not None
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (7, 3)
    assert (await answered.close()).cost_nano_usd == 42


async def test_a_retryable_failure_goes_to_the_next_target() -> None:
    scene = Scene(first=Scripted(failing(Overloaded("full"))), second=Scripted(hello))
    answered = await scene.answer()
    assert answered.target_name == "second/m"
    await read(answered)
    attempts = scene.ledger.outcomes[0].attempts
    assert [(record.target, record.error_type) for record in attempts] == [
        ("first/m", "overloaded_error"),
        ("second/m", None),
    ]


async def test_a_final_error_is_not_tried_elsewhere() -> None:
    second = Scripted(hello)
    scene = Scene(first=Scripted(failing(InvalidRequest("no", path="messages.0"))), second=second)
    with pytest.raises(InvalidRequest):
        await scene.answer()
    assert not second.calls
    assert [outcome.status for outcome in scene.ledger.outcomes] == ["failed"]


async def test_when_every_target_fails_the_last_error_is_told_and_settled() -> None:
    scene = Scene(first=Scripted(failing(ApiError("a"))), second=Scripted(failing(Overloaded("b"))))
    with pytest.raises(Overloaded, match="b"):
        await scene.answer()
    assert not scene.ledger.open
    assert scene.ledger.outcomes[0].error_type == "overloaded_error"


async def test_a_target_that_is_not_ready_goes_last() -> None:
    scene = Scene(first=Scripted(hello, ready=False), second=Scripted(hello))
    answered = await scene.answer()
    assert answered.target_name == "second/m"
    await answered.close()


@pytest.mark.parametrize("error", [None, ApiError("reset")])
async def test_an_upstream_that_dies_mid_stream_ends_in_an_error_event(error: RengaError | None) -> None:
    second = Scripted(hello)
    scene = Scene(first=Scripted(cut(3, error)), second=second)
    answered = await scene.answer()
    events = [event async for batch in answered for event in batch]
    assert isinstance(events[-1], ErrorEvent)
    assert not second.calls
    assert scene.ledger.outcomes[0].status == "partial"
    assert not scene.ledger.open


async def test_a_crash_in_a_provider_is_an_error_event_without_its_words() -> None:
    async def crash(request: InferenceRequest) -> AsyncIterator[Batch]:
        yield split(MESSAGE)[:1]
        raise ValueError("prompt text")

    scene = Scene(local=Scripted(crash))
    events = [event async for batch in await scene.answer() for event in batch]
    assert isinstance(events[-1], ErrorEvent)
    assert "prompt text" not in events[-1].error.message


async def test_closing_early_closes_the_provider_and_settles_what_was_used() -> None:
    local = Scripted(hello)
    scene = Scene(local=local)
    answered = await scene.answer()
    async for _ in answered:
        break
    await answered.close()
    assert local.closed == 1
    assert scene.ledger.outcomes[0].status == "canceled"
    assert scene.ledger.outcomes[0].usage is not None


async def test_closing_before_reading_anything_still_settles() -> None:
    local = Scripted(hello)
    scene = Scene(local=local)
    await (await scene.answer()).close()
    assert local.closed == 1
    assert not scene.ledger.open


async def test_a_client_that_leaves_before_the_first_event_is_settled_as_canceled() -> None:
    began = asyncio.Event()

    async def endless(request: InferenceRequest) -> AsyncIterator[Batch]:
        began.set()
        await asyncio.Event().wait()
        yield []

    local = Scripted(endless)
    scene = Scene(local=local)
    task = asyncio.create_task(scene.answer())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert local.closed == 1
    assert scene.ledger.outcomes[0].status == "canceled"


async def test_what_no_target_can_do_is_refused_before_sending() -> None:
    local = Scripted(hello)
    scene = Scene(local=local)
    image = ImageBlock(Base64Source("image/png", ""))
    with pytest.raises(InvalidRequest) as refused:
        await answer(scene.ask(content=(image,)), scene.parts)
    assert refused.value.path == "messages.0.content.0"
    assert not local.calls


async def test_an_unknown_model_is_settled_too() -> None:
    scene = Scene(local=Scripted(hello))
    with pytest.raises(NotFound):
        await scene.answer(model="gpt")
    assert not scene.ledger.open


async def test_counting_falls_back_like_answering() -> None:
    scene = Scene(first=Scripted(failing(Overloaded("full"))), second=Scripted(hello))
    assert await count_tokens(scene.ask(), scene.parts) == 7
