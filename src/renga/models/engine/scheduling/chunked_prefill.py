"""A prompt that is read in chunks: each is a short step, and between two of them live requests go first.

Owns: how far the prompt is read.
Must never know: who goes first.
Invariant: a chunk is a prompt of its own that ends earlier, so that what was read before it comes out of the prefix
cache; a chunk that was stopped is read again.

Source: chunked prefill, Agrawal et al. 2023, arXiv:2308.16369. GenAI's own chunks share a step with the prompts of live
requests, in the order of arrival; these do not.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from renga.models.engine.pipeline import Continuation, Pipeline
from renga.models.engine.scheduling.admission import WaitingRequest


class ChunkedPrefill:
    """A background prompt that is read in chunks, and how far that is."""

    def __init__(self, pipeline: Pipeline, waiter: WaitingRequest, prefill_chunk_tokens: int) -> None:
        self._pipeline = pipeline
        self._chunk_tokens = prefill_chunk_tokens
        self._chunk: Continuation | None = None
        self._chunk_end = 0
        self.waiter = waiter
        """With how far it is read, to be started or put back into the line."""

    @property
    def has_chunk(self) -> bool:
        """Whether the pipeline holds a chunk."""
        return self._chunk is not None

    @property
    def is_done(self) -> bool:
        """Whether what is left is no longer than a chunk: the request may start."""
        return len(self.waiter.generation.prompt_token_ids) - self.waiter.read_tokens <= self._chunk_tokens

    def start_chunk(self) -> None:
        """Give the pipeline the next one. It reads it in its next step, or two where others decode.

        Raises: RuntimeError if the pipeline refuses it.
        """
        request_id, generation, read_tokens = self.waiter.request_id, self.waiter.generation, self.waiter.read_tokens
        # Ends of chunks are ends of blocks: what is kept of a prompt is whole blocks.
        self._chunk_end = (read_tokens // self._chunk_tokens + 1) * self._chunk_tokens
        prompt = generation.prompt_token_ids[: self._chunk_end]
        chunk = replace(generation, prompt_token_ids=prompt, max_tokens=1, temperature=0, grammar=None)
        self._chunk = self._pipeline.add(request_id, chunk, frozenset())

    def finish_chunk(self) -> bool:
        """Take note that a step was made. Returns whether the prompt fits into the cache so far."""
        if self._chunk is None:
            return True
        if self._chunk.read().finish is None:
            return not self._chunk.is_refused()
        self._chunk = None
        self.waiter = replace(self.waiter, read_tokens=self._chunk_end)
        return True

    def cancel_chunk(self) -> bool:
        """Take the chunk back. Returns whether there was one: its blocks are free after the next step."""
        chunk, self._chunk = self._chunk, None
        if chunk is not None:
            chunk.cancel()
        return chunk is not None


def count_common(prompt: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts begin with alike."""
    for index, (token_id, other_id) in enumerate(zip(prompt, other, strict=False)):
        if token_id != other_id:
            return index
    return min(len(prompt), len(other))
