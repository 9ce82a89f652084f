"""Several servers of the same models behind one name.

Owns: which of them are alive, and which one a request goes to; the choice by prefix is
`models/providers/transport/prefix_affinity.py`'s.
Must never know: which API they speak.
Invariants: where there is one server, this adds nothing but a call; one that could not be reached is passed over, and
asked again by one request at a time, after 1 s at first and 30 s at last; a request goes to another server by itself
only where nothing of it was sent; where all are dead, all are tried.
"""

from __future__ import annotations

import logging

from renga.clock import Clock
from renga.config import ProviderSettings
from renga.errors import UpstreamTimedOut
from renga.models.providers.transport.endpoint import build_endpoint
from renga.models.providers.transport.prefix_affinity import Affinity, Fingerprint, fingerprint_prompt
from renga.models.providers.transport.upstream_client import (
    Headers,
    Upstream,
    UpstreamLost,
    UpstreamResponse,
    UpstreamUnreachable,
)
from renga.protocols.messages.request import MessageRequest

_log = logging.getLogger(__name__)

DEAD_STATUSES = frozenset({502, 503, 504})
"""What a balancer or a server that is starting says for a replica that cannot work."""

RUNNING_CHUNKS = 1
"""What an answer that is being written weighs: servers decode many at once."""

FIRST_REST_NS = 1_000_000_000
LONGEST_REST_NS = 30_000_000_000


class Replica:
    """One server: its connections, and whether it is to be left alone for a while."""

    def __init__(self, upstream: Upstream, url: str, clock: Clock) -> None:
        self.upstream = upstream
        self.url = url
        self._clock = clock
        self._failures = 0
        self._rests_until_ns = 0
        self.work = 0
        """What waits or runs on it for us, in chunks of prompts."""

    @property
    def rests(self) -> bool:
        """Whether it failed lately and is not asked for now."""
        return self._failures > 0 and self._clock.monotonic_ns() < self._rests_until_ns

    def enter(self) -> None:
        """A request is about to go to it. After a failure it is a probe, and others wait for what it finds."""
        if self._failures:
            self._rest()

    def fail(self) -> bool:
        """Note that it could not answer. Returns whether that is news."""
        self._failures += 1
        self._rest()
        return self._failures == 1

    def succeed(self) -> bool:
        """Note that it answered. Returns whether that is news."""
        was_dead, self._failures = self._failures > 0, 0
        return was_dead

    def _rest(self) -> None:
        rest_ns = min(LONGEST_REST_NS, FIRST_REST_NS << min(self._failures - 1, 10))
        self._rests_until_ns = self._clock.monotonic_ns() + rest_ns


class ReplicaWork:
    """One request's part of a replica's work: its prompt until its answer begins, then the answer's share."""

    def __init__(self, replica: Replica, chunks: int) -> None:
        self._replica = replica
        self._chunks = chunks
        replica.work += chunks

    def begin(self) -> None:
        self._change(min(self._chunks, RUNNING_CHUNKS))

    def end(self) -> None:
        self._change(0)

    def _change(self, chunks: int) -> None:
        self._replica.work += chunks - self._chunks
        self._chunks = chunks


class ReplicaVisit:
    """One request's way to the only server that there is."""

    __slots__ = ("upstream",)

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        """Where to send the request now."""

    def note_response(self, response: UpstreamResponse) -> None:
        """The head of a response is there."""

    def move_on(self, error: BaseException) -> bool:
        """Sending failed. Returns whether `upstream` is another server now, which may be asked at once."""
        return False


class RankedVisit(ReplicaVisit):
    """One request's way along several servers, the best first."""

    __slots__ = ("_fingerprint", "_index", "_ranked", "_replicas", "_work")

    def __init__(self, replicas: Replicas, ranked: list[int], fingerprint: Fingerprint) -> None:
        self._replicas = replicas
        self._ranked = iter(ranked)
        self._fingerprint = fingerprint
        self._index = next(self._ranked)
        self._work: ReplicaWork | None = replicas.enter(self._index, fingerprint)
        """While the request is being sent; a response that has come knows it from there on."""
        super().__init__(replicas.upstream(self._index))

    def note_response(self, response: UpstreamResponse) -> None:
        response.progress, self._work = self._work, None
        self._replicas.note_status(self._index, response.status)

    def move_on(self, error: BaseException) -> bool:
        if self._work is None:
            return False
        self._work.end()
        self._work = None
        if isinstance(error, UpstreamUnreachable | UpstreamLost | UpstreamTimedOut):
            self._replicas.note_failure(self._index)
        following = next(self._ranked, None) if isinstance(error, UpstreamUnreachable) else None
        if following is None:
            return False
        self._index = following
        self._work = self._replicas.enter(following, self._fingerprint)
        self.upstream = self._replicas.upstream(following)
        return True


class Replicas:
    """The servers behind the name of one provider."""

    def __init__(self, name: str, settings: ProviderSettings, clock: Clock) -> None:
        endpoint = build_endpoint(name, settings)
        urls = dict.fromkeys((settings.base_url, *settings.replicas))
        self.name = name
        self._replicas = [Replica(Upstream(endpoint.at(url)), url, clock) for url in urls]
        self._only = ReplicaVisit(self._replicas[0].upstream) if len(self._replicas) == 1 else None
        self._affinity = Affinity(tuple(urls)) if settings.affinity and len(urls) > 1 else None
        self._even = Affinity(tuple(urls))

    def open(self) -> None:
        """Make ready; connects to nobody yet."""
        for replica in self._replicas:
            replica.upstream.open()

    def close(self) -> None:
        """Close every connection; responses in flight end in UpstreamLost. Idempotent."""
        for replica in self._replicas:
            replica.upstream.close()

    def fingerprint(self, request: MessageRequest) -> Fingerprint:
        """What `visit` wants to know of a prompt; () where it makes no difference."""
        return () if self._affinity is None else fingerprint_prompt(request)

    def visit(self, fingerprint: Fingerprint = ()) -> ReplicaVisit:
        """Choose the replica that holds a prompt's beginning, and those to go to if it cannot be reached."""
        return self._only or RankedVisit(self, self._rank(fingerprint), fingerprint)

    async def post(self, path: str, headers: Headers, body: bytes) -> UpstreamResponse:
        """Send a small request to the server with the least to do, or to the next one that lives.

        Raises: as `Upstream.post`.
        """
        visit = self.visit()
        while True:
            try:
                response = await visit.upstream.post(path, headers, body)
            except BaseException as error:
                if visit.move_on(error):
                    continue
                raise
            visit.note_response(response)
            return response

    async def get(self, path: str, headers: Headers) -> UpstreamResponse:
        """As `post`, without a body; it is no work that counts.

        Raises: as `Upstream.post`.
        """
        *others, last = self._rank(())
        for index in others:
            try:
                return await self._replicas[index].upstream.get(path, headers)
            except UpstreamUnreachable:
                continue
        return await self._replicas[last].upstream.get(path, headers)

    def upstream(self, index: int) -> Upstream:
        """The pool of connections to one server."""
        return self._replicas[index].upstream

    def enter(self, index: int, fingerprint: Fingerprint) -> ReplicaWork:
        """Note that a prompt goes to a server, with as much work as what of it is new there."""
        replica = self._replicas[index]
        replica.enter()
        if self._affinity is None:
            return ReplicaWork(replica, 1)
        new_chunks = len(fingerprint) - self._affinity.count_held(fingerprint)[index]
        self._affinity.record(fingerprint, index)
        return ReplicaWork(replica, max(1, new_chunks))

    def note_status(self, index: int, status: int) -> None:
        """Note with which status a server answered: one that a dead server's balancer gives is a failure."""
        if status in DEAD_STATUSES:
            self.note_failure(index)
        elif self._replicas[index].succeed():
            _log.warning("%s: %s is back", self.name, self._replicas[index].url)

    def note_failure(self, index: int) -> None:
        """Note that a server could not answer: it is left alone for a while, and its prefixes are forgotten."""
        replica = self._replicas[index]
        if not replica.fail():
            return
        _log.warning("%s: %s does not answer and is passed over", self.name, replica.url)
        if self._affinity is not None:
            self._affinity.forget(index)

    def _rank(self, fingerprint: Fingerprint) -> list[int]:
        """Who is asked, in order: those that rest only where all do."""
        ranked = (self._affinity or self._even).rank(fingerprint, [replica.work for replica in self._replicas])
        awake = [index for index in ranked if not self._replicas[index].rests]
        return awake or ranked
