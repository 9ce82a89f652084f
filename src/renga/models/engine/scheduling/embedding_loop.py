"""The loop around an embedding model: whose texts are next, and what came of them.

Owns: the requests, from their command to their report.
Must never know: sockets, OpenVINO, what the texts say.
Invariants: a step embeds a bounded number of texts of one request, so that a cancel and others' requests wait for no
more; requests take turns as generations do; a request that fails does so alone.
"""

from __future__ import annotations

from renga.models.engine.embedding_pipeline import EmbeddingPipeline
from renga.models.engine.ipc import (
    CancelCommand,
    Command,
    EmbedCommand,
    EmbeddingReport,
    EmbeddingRequest,
    EngineStats,
    FailedReport,
    Report,
    StatsReport,
    SubmitCommand,
)
from renga.models.engine.scheduling.fair_queue import FairQueue

_STEP_TEXTS = 8
"""Texts of one step. A model of 22 M parameters in 8 bits takes about 12 ms for 100 tokens on two cores, so that a step
of such texts takes 0.1 s."""


class EmbeddingEngine:
    """An embedding pipeline, before which requests wait their turn."""

    def __init__(self, pipeline: EmbeddingPipeline) -> None:
        self._pipeline = pipeline
        self._queue = FairQueue()
        self._requests: dict[int, EmbeddingRequest] = {}
        self._vectors: dict[int, list[list[float]]] = {}
        """What is done of each request."""
        self._reported = EngineStats()

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._requests)

    @property
    def yield_interval_s(self) -> float | None:
        """How long nothing is to be done unless a command comes; None: until one comes."""
        return 0.0 if self._requests else None

    def handle(self, command: Command) -> list[Report]:
        """Take a command in; what it leads to comes out of later steps."""
        match command:
            case SubmitCommand(request_id):
                return [FailedReport(request_id, "invalid", "the model gives embeddings and writes no answers")]
            case EmbedCommand(request_id, embedding):
                if not embedding.texts:
                    return [FailedReport(request_id, "invalid", "there is no text to embed")]
                self._requests[request_id] = embedding
                self._vectors[request_id] = []
                self._enqueue(request_id)
            case CancelCommand(request_id):
                if self._requests.pop(request_id, None) is not None:
                    del self._vectors[request_id]
                    self._queue.remove(request_id)
        return self._measure()

    def step(self) -> list[Report]:
        """Embed the next texts of whoever's turn it is."""
        if not self._requests:
            return []
        request_id = self._queue.take()
        texts, vectors = self._requests[request_id].texts, self._vectors[request_id]
        try:
            vectors += self._pipeline.embed(texts[len(vectors) : len(vectors) + _STEP_TEXTS])
        except RuntimeError as error:
            return [*self._end(FailedReport(request_id, "internal", str(error).strip() or type(error).__name__))]
        if len(vectors) < len(texts):
            self._enqueue(request_id)
            return []
        return self._end(EmbeddingReport(request_id, vectors))

    def _enqueue(self, request_id: int) -> None:
        """Let a request wait for its next turn."""
        embedding = self._requests[request_id]
        self._queue.add(request_id, key_id=embedding.key_id, priority=embedding.priority)

    def _end(self, report: EmbeddingReport | FailedReport) -> list[Report]:
        """Forget a request that has its report."""
        del self._requests[report.request_id], self._vectors[report.request_id]
        return [report, *self._measure()]

    def _measure(self) -> list[Report]:
        """Report the load if the number of requests changed."""
        count = len(self._requests)
        stats = EngineStats(running=min(1, count), waiting=max(0, count - 1))
        if stats == self._reported:
            return []
        self._reported = stats
        return [StatsReport(stats)]
