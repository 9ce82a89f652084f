"""An answer as a stream of server-sent events.

Owns: pings, the one terminal event, and one write a batch. Must never know: where events come from.
Invariants: nothing follows an error or message_stop; a stream is silent no longer than the ping interval.

Source: messages-api notes, sections 1.9, 4 (mistake 10) and 7 (rule 14).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from msgspec.structs import replace

from renga.errors import ApiError, RengaError
from renga.http.exchange.http_exchange import Header, HttpExchange, log_unexpected, stopping
from renga.protocols.messages.events.error_events import error_event
from renga.protocols.messages.events.event_types import (
    Batch,
    CompleteMessage,
    ContentBlockStart,
    ErrorEvent,
    Event,
    MessageStop,
    Ping,
    RawEvent,
)
from renga.protocols.messages.sse import PING, encode_batch

HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
"""The last keeps nginx from collecting events before it passes them on."""

_PATIENT_INTERVALS = 12
"""Ping intervals for which a client may read nothing while there is something to read: two minutes by default."""

_TERMINAL = frozenset({"message_stop", "error"})


async def write_stream(
    exchange: HttpExchange, events: AsyncIterator[Batch], headers: Iterable[Header], *, ping_interval_s: float
) -> None:
    """Write an answer's events as they come, and read them to their end.

    A failure on the way becomes an error event, and so does the end of the server: the 200 is sent by then.
    """
    await exchange.start_stream((*HEADERS, *headers))
    pulse = _PingTimer(exchange, ping_interval_s)
    script = _ClientEvents(exchange.request_id)
    try:
        async for batch in events:
            data = encode_batch(script.arrange(batch))
            pulse.begin_write()
            if script.has_ended:
                await exchange.end(data)
                break
            if data:
                await exchange.write(data)
            pulse.end_write()
        pulse.stop()
        # What follows the end is not for the client: evidence for the router, and the settling of the account.
        async for _ in events:
            pass
        failure = None
    except asyncio.CancelledError:
        if exchange.vigil.reason is None and not script.has_ended:
            await exchange.end(encode_batch([error_event(stopping(), exchange.request_id)]))
        raise
    except RengaError as error:
        failure = error
    except Exception as error:
        log_unexpected(exchange, error)
        failure = ApiError("Internal error.")
    finally:
        pulse.stop()
    if not script.has_ended:
        failure = failure or ApiError("The answer broke off before its end.")
        await exchange.end(encode_batch([error_event(failure, exchange.request_id)]))


class _ClientEvents:
    """What of an answer's events is for the client, and what Renga adds."""

    def __init__(self, request_id: str) -> None:
        self.has_ended = False
        """Whether the terminal event is among what was arranged."""
        self._request_id = request_id
        self._wants_ping = True

    def arrange(self, batch: Batch) -> Batch:
        """The batch up to its terminal event; the first block of a stream of our own is followed by a ping."""
        for index, event in enumerate(batch):
            if isinstance(event, RawEvent):
                # An upstream that is relayed sends pings of its own.
                self._wants_ping = False
                if event.kind in _TERMINAL:
                    return self._end(batch[: index + 1])
            elif isinstance(event, (MessageStop, CompleteMessage)):
                return self._end(batch[: index + 1])
            elif isinstance(event, ErrorEvent):
                named = event if event.request_id else replace(event, request_id=self._request_id)
                return self._end([*batch[:index], named])
            elif self._wants_ping and isinstance(event, (ContentBlockStart, Ping)):
                self._wants_ping = False
                if isinstance(event, ContentBlockStart) and not _is_ping(batch[index + 1 : index + 2]):
                    return [*batch[: index + 1], Ping(), *self.arrange(batch[index + 1 :])]
        return batch

    def _end(self, batch: Batch) -> Batch:
        self.has_ended = True
        return batch


def _is_ping(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[0], Ping)


class _PingTimer:
    """Sends a ping when a stream has been silent for an interval, and gives up a client that takes nothing for many.

    One timer a stream, however much is written.
    """

    def __init__(self, exchange: HttpExchange, interval_s: float) -> None:
        self._exchange = exchange
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._changed_at = self._loop.time()
        self._is_writing = False
        self._ping: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(interval_s, self._look)

    def begin_write(self) -> None:
        """A write begins: it waits where the client does not read."""
        self._changed_at = self._loop.time()
        self._is_writing = True

    def end_write(self) -> None:
        """The write is done: the silence begins."""
        self._changed_at = self._loop.time()
        self._is_writing = False

    def stop(self) -> None:
        """No more pings. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ping is not None:
            self._ping.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        unchanged_s = now - self._changed_at
        next_s = self._interval_s
        if self._is_writing or (self._ping is not None and not self._ping.done()):
            if unchanged_s >= self._interval_s * _PATIENT_INTERVALS:
                self._timer = None
                self._exchange.vigil.leave()
                return
        # The timer may be early by its resolution; a ping 1 ms early does not matter, a second timer does.
        elif unchanged_s >= self._interval_s - 0.001:
            self._changed_at = now
            self._ping = self._loop.create_task(self._exchange.write(PING))
        else:
            next_s -= unchanged_s
        self._timer = self._loop.call_later(next_s, self._look)
