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
from renga.models.providers.transport.prefix_affinity import Affinity, Fingerprint, fingerprint_prompt
from renga.models.providers.transport.upstream_client import (
    Headers,
    Upstream,
    UpstreamLost,
    UpstreamResponse,
    UpstreamUnreachable,
    build_endpoint,
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
        """Whether it failed lately and nobody is to ask it now."""
        return self._failures > 0 and self._clock.monotonic_ns() < self._rests_until_ns

    def enter(self) -> None:
        """A request is about to go to it. After a failure it is a probe, and others wait for what it finds."""
        if self._failures:
            self._rest()

    def fail(self) -> bool:
        """It could not answer. Returns whether that is news."""
        self._failures += 1
        self._rest()
        return self._failures == 1

    def succeed(self) -> bool:
        """It answered. Returns whether that is news."""
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


class Replicas:
    """The servers of one provider, with the face of a single `Upstream`."""

    def __init__(self, name: str, settings: ProviderSettings, clock: Clock) -> None:
        endpoint = build_endpoint(name, settings)
        urls = dict.fromkeys((settings.base_url, *settings.replicas))
        self.name = name
        self._replicas = [Replica(Upstream(endpoint.at(url)), url, clock) for url in urls]
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
        """What `post` wants to know of a prompt; () where it makes no difference."""
        return () if self._affinity is None else fingerprint_prompt(request)

    async def post(
        self,
        path: str,
        headers: Headers,
        body: bytes,
        *,
        fingerprint: Fingerprint = (),
        first_byte_timeout_s: float | None = None,
    ) -> UpstreamResponse:
        """Send a request to the replica that holds its beginning, or to the next one that lives.

        Raises: as `Upstream.post`.
        """
        if len(self._replicas) == 1:
            only = self._replicas[0].upstream
            return await only.post(path, headers, body, first_byte_timeout_s=first_byte_timeout_s)
        failure: UpstreamUnreachable | None = None
        for index in self._rank(fingerprint):
            replica = self._replicas[index]
            replica.enter()
            work = ReplicaWork(replica, self._record(fingerprint, index))
            try:
                response = await replica.upstream.post(path, headers, body, first_byte_timeout_s=first_byte_timeout_s)
            except UpstreamUnreachable as error:
                work.end()
                self._fail(index)
                failure = error
                continue
            except BaseException as error:
                work.end()
                if isinstance(error, (UpstreamLost, UpstreamTimedOut)):
                    self._fail(index)
                raise
            response.progress = work
            if response.status in DEAD_STATUSES:
                self._fail(index)
            elif replica.succeed():
                _log.warning("%s: %s is back", self.name, replica.url)
            return response
        assert failure is not None  # there is at least one replica, and it either answered or raised
        raise failure

    async def get(self, path: str, headers: Headers) -> UpstreamResponse:
        """As `post`, without a body, and whoever has the least to do."""
        failure: UpstreamUnreachable | None = None
        for index in self._rank(()):
            try:
                return await self._replicas[index].upstream.get(path, headers)
            except UpstreamUnreachable as error:
                failure = error
        assert failure is not None  # as in `post`
        raise failure

    def _rank(self, fingerprint: Fingerprint) -> list[int]:
        """Who is asked, in order: those that rest only where all do."""
        ranked = (self._affinity or self._even).rank(fingerprint, [replica.work for replica in self._replicas])
        awake = [index for index in ranked if not self._replicas[index].rests]
        return awake or ranked

    def _record(self, fingerprint: Fingerprint, index: int) -> int:
        """Note where a prompt goes. Returns what of it is new there, in chunks."""
        if self._affinity is None:
            return 1
        new = len(fingerprint) - self._affinity.count_held(fingerprint)[index]
        self._affinity.record(fingerprint, index)
        return max(1, new)

    def _fail(self, index: int) -> None:
        replica = self._replicas[index]
        if not replica.fail():
            return
        _log.warning("%s: %s does not answer and is passed over", self.name, replica.url)
        if self._affinity is not None:
            self._affinity.forget(index)
