"""What one request got from the engine process and its reader has not fetched yet.

Must never know: where tokens come from, what they mean.
Invariant: whatever came before a failure is still read, in order.
"""

from __future__ import annotations

import asyncio

from renga.models.engine.ipc import TokenBatch


class TokenQueue:
    """The output of one request that its single reader has not fetched yet."""

    def __init__(self) -> None:
        self._batches: list[TokenBatch] = []
        self._error: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None

    def put(self, batch: TokenBatch) -> None:
        self._batches.append(batch)
        self._wake()

    def fail(self, error: Exception) -> None:
        """End the request: what came before is still read, then the error is raised."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._arrival and not self._arrival.done():
            self._arrival.set_result(None)

    async def take(self) -> TokenBatch:
        """Wait for the next batch; a slow reader gets all that has come in one.

        Raises: whatever `fail` was given.
        """
        while not self._batches:
            if self._error:
                raise self._error
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        batches, self._batches = self._batches, []
        return _merge(batches)


def _merge(batches: list[TokenBatch]) -> TokenBatch:
    """Join consecutive batches of one request."""
    if len(batches) == 1:
        return batches[0]
    return TokenBatch(
        token_ids=[token_id for batch in batches for token_id in batch.token_ids],
        logprobs=[logprob for batch in batches for logprob in batch.logprobs],
        finish=batches[-1].finish,
        cached_tokens=batches[0].cached_tokens,
    )
