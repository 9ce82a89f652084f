"""An answer written to a client as a stream while it comes.

Owns: one write a batch, what is sent in a silence, and that a stream ends once. Must never know: where events come
from, or how they look on the wire (a surface's StreamEncoder does).
Invariants: nothing follows a stream's end; a stream is silent no longer than the ping interval, where its format has
something to say in a silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from renga.errors import ApiError, RengaError
from renga.http.exchange.asgi import Header
from renga.http.exchange.http_exchange import HttpExchange, log_unexpected, stopping
from renga.http.exchange.surface import StreamEncoder
from renga.protocols.messages.events.event_types import Batch

_UNREAD_INTERVALS = 12
"""Ping intervals for which a client may read nothing while there is something to read: two minutes by default."""


async def write_stream(
    exchange: HttpExchange,
    events: AsyncIterator[Batch],
    encoder: StreamEncoder,
    headers: Iterable[Header],
    *,
    ping_interval_s: float,
) -> None:
    """Write an answer's events as they come, and read them to their end.

    A failure on the way becomes the stream's end, and so does the end of the server: the status is sent by then.
    """
    await exchange.start_stream((*exchange.surface.header_names.stream, *headers))
    timer = _KeepAliveTimer(exchange, encoder, ping_interval_s)
    try:
        async for batch in events:
            data = encoder.encode_batch(batch)
            timer.begin_write()
            if encoder.has_ended:
                await exchange.end(data)
                break
            if data:
                await exchange.write(data)
            timer.end_write()
        timer.stop()
        # What follows the end is not for the client: evidence for the router, and the settling of the account.
        async for _ in events:
            pass
        failure = None
    except asyncio.CancelledError:
        if exchange.watchdog.cancel_reason is None and not encoder.has_ended:
            await exchange.end(encoder.encode_failure(stopping()))
        raise
    except RengaError as error:
        failure = error
    except Exception as error:
        log_unexpected(exchange, error)
        failure = ApiError("Internal error.")
    finally:
        timer.stop()
    if not encoder.has_ended:
        failure = failure or ApiError("The answer broke off before its end.")
        await exchange.end(encoder.encode_failure(failure))


class _KeepAliveTimer:
    """Sends something when a stream has been silent for an interval, and gives up a client that takes nothing for many.

    One timer a stream, however much is written.
    """

    def __init__(self, exchange: HttpExchange, encoder: StreamEncoder, interval_s: float) -> None:
        self._exchange = exchange
        self._encoder = encoder
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._changed_at = self._loop.time()
        self._is_writing = False
        self._keep_alive: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(interval_s, self._check)

    def begin_write(self) -> None:
        """A write begins: it waits where the client does not read."""
        self._changed_at = self._loop.time()
        self._is_writing = True

    def end_write(self) -> None:
        """The write is done: the silence begins."""
        self._changed_at = self._loop.time()
        self._is_writing = False

    def stop(self) -> None:
        """Send nothing more into silences. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._keep_alive is not None:
            self._keep_alive.cancel()

    def _check(self) -> None:
        """See how long nothing has changed, and come back when the next silence could be over."""
        now = self._loop.time()
        unchanged_s = now - self._changed_at
        next_s = self._interval_s
        if self._is_writing or (self._keep_alive is not None and not self._keep_alive.done()):
            if unchanged_s >= self._interval_s * _UNREAD_INTERVALS:
                self._timer = None
                self._exchange.watchdog.treat_as_left()
                return
        # The timer may be early by its resolution; a ping 1 ms early does not matter, a second timer does.
        elif unchanged_s >= self._interval_s - 0.001:
            self._changed_at = now
            data = self._encoder.keep_alive()
            if data:
                self._keep_alive = self._loop.create_task(self._exchange.write(data))
        else:
            next_s -= unchanged_s
        self._timer = self._loop.call_later(next_s, self._check)
