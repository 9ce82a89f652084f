"""Clients that ask without end while things are killed, and the audit of what they were told against what was written.

Owns: the load, and the comparison. Must never know: what is killed, or when.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from renga.domain.ledger import LedgerRow
from renga.store.database import Database
from renga.testing.servers.served import Served
from renga.testing.servers.valkey import ValkeyServer

_PAUSE_S = 0.005
_RETRY_S = 0.02
_TIMEOUT_S = 20.0
_NANO = 1_000_000_000
_LIMITS = "renga:{limits}:"


@dataclass(frozen=True)
class Told:
    """What a client knows of a request whose answer it has whole."""

    request_id: str
    cost_nano_usd: int | None
    """None where the answer does not say it: a stream."""
    ended_s: float


@dataclass
class Client:
    """One client on one server. It asks, notes, and asks again, whatever happens."""

    server: Callable[[], Served]
    model: str
    stream: bool = False
    told: list[Told] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    """Requests whose connection broke: nobody knows what became of them."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(2 * _TIMEOUT_S)

    def answers_since(self, time_s: float) -> int:
        """Answers that ended after this moment."""
        return sum(1 for each in self.told[-1000:] if each.ended_s >= time_s)

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(_PAUSE_S):
            server = self.server()
            if connection is None or connection.port != server.port:
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT_S)
            try:
                self._ask(connection, server.secret)
            except ConnectionRefusedError:
                connection.close()
                self._stop.wait(_RETRY_S)
            except (OSError, http.client.HTTPException, ValueError):
                self.cut += 1
                connection.close()
                self._stop.wait(_RETRY_S)

    def _ask(self, connection: http.client.HTTPConnection, secret: str) -> None:
        turns = [{"role": "user", "content": "What is the capital of Norway?"}]
        body = {"model": self.model, "max_tokens": 12, "stream": self.stream, "messages": turns}
        headers = {"x-api-key": secret, "content-type": "application/json"}
        connection.request("POST", "/v1/messages", json.dumps(body).encode(), headers)
        response = connection.getresponse()
        data = response.read()
        if response.status != 200:
            error = json.loads(data)["error"]
            self.refused[f"{response.status} {error['type']}"] += 1
            return
        if self.stream and b"event: message_stop" not in data:
            self.refused["an error event"] += 1
            return
        cost = response.headers.get("renga-cost-usd")
        self.told.append(
            Told(
                response.headers["request-id"],
                None if cost is None else int(Decimal(cost) * _NANO),
                time.monotonic(),
            )
        )


@dataclass
class Findings:
    """What does not agree; everything 0 and () is what should be."""

    answered: int = 0
    cut: int = 0
    rows: int = 0
    lost_rows: list[str] = field(default_factory=list)
    """Answers that a client has whole, without a row."""
    wrong_costs: list[str] = field(default_factory=list)
    doubled_rows: int = 0
    unknown_rows: int = 0
    """Succeeded rows that no client was told of, beyond the requests whose connection broke."""
    ledger_nano_usd: int = 0
    budget_difference_nano_usd: int = 0
    """What Valkey counts of the day less what the ledger says: above 0 something was counted twice, below 0 not."""

    @property
    def good(self) -> bool:
        faults = self.lost_rows or self.wrong_costs or self.doubled_rows or self.unknown_rows
        return not faults and self.budget_difference_nano_usd == 0


def read_ledger(database: Database) -> list[LedgerRow]:
    """All of it."""
    rows: list[LedgerRow] = []
    while some := database.ledger.read_rows(after=len(rows), limit=5_000):
        rows += some
    return rows


def audit(clients: list[Client], rows: list[LedgerRow], valkey: ValkeyServer) -> Findings:
    """Hold what clients were told against the ledger, and the ledger against the shared budget."""
    found = Findings(rows=len(rows), cut=sum(client.cut for client in clients))
    by_id: dict[str, LedgerRow] = {row.request_id: row for row in rows}
    found.doubled_rows = len(rows) - len(by_id)
    told = [each for client in clients for each in client.told]
    found.answered = len(told)
    for each in told:
        row = by_id.get(each.request_id)
        if row is None:
            found.lost_rows.append(each.request_id)
        elif each.cost_nano_usd is not None and each.cost_nano_usd != row.cost_nano_usd:
            found.wrong_costs.append(f"{each.request_id}: {row.cost_nano_usd}, told {each.cost_nano_usd}")
    known = {each.request_id for each in told}
    unknown = sum(1 for row in rows if row.status == "succeeded" and row.request_id not in known)
    found.unknown_rows = max(0, unknown - found.cut)
    found.ledger_nano_usd = sum(row.cost_nano_usd or 0 for row in rows)
    found.budget_difference_nano_usd = _compare_budget(rows, valkey)
    return found


def _compare_budget(rows: list[LedgerRow], valkey: ValkeyServer) -> int:
    born = int(_get(valkey, f"{_LIMITS}born") or 0)
    day = int(datetime.now(UTC).timestamp()) // 86_400
    difference = 0
    for key_id in {row.key_id for row in rows}:
        counted = int(_get(valkey, f"{_LIMITS}s:{born}:k:{key_id}:{day}") or 0)
        mine = (row for row in rows if row.key_id == key_id)
        written = sum(row.cost_nano_usd or 0 for row in mine if row.time_us >= born)
        difference += counted - written
    return difference


def _get(valkey: ValkeyServer, name: str) -> str | None:
    reply = valkey.call("GET", name)
    return None if reply.startswith(b"$-1") else reply.split(b"\r\n")[1].decode()
