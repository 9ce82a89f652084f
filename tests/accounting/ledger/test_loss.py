"""What kill -9 loses of what was settled: with a journal nothing; without one the last second, nothing before it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from renga.store.database import open_database

LOSS_MAX_S = 1.0
"""A second has twenty rounds of the store thread here, and four in a server: a busy machine has room."""
RUN_S = 0.5

PROGRAM = """
import sys
from pathlib import Path
from renga.clock import SystemClock
from renga.accounting.ledger.lease import RequestOutcome
from renga.accounting.ledger.journal import Journal
from renga.accounting.ledger.request_ledger import Ledger
from renga.metrics.request_metrics import RequestMetrics
from renga.accounting.pricing.price_book import PriceBook
from renga.accounting.ledger.spool import Spool
from renga.store.store_thread import StoreThread
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.inference_request import Caller
from renga.testing.metering import make_request

def open_here():
    from renga.store.database import open_database
    return open_database(sys.argv[1])

folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
spool = None if folder is None else Spool(folder / "ledger.spool", journal=Journal(folder))
ledger = Ledger(PriceBook({}, {}), RequestMetrics(), SystemClock(), queue_rows=1_000_000, spool=spool)
thread = StoreThread(open_here, [ledger], interval_s=0.05)
thread.start()
thread.wait_ready(10)
print("ready", flush=True)
outcome = RequestOutcome("succeeded", "local/hokku", "haiku", (), (), Usage(10, output_tokens=2), None, None, 1, 2, 3)
for number, _ in enumerate(sys.stdin):
    ledger.settle(ledger.reserve(make_request(f"req_{number}", Caller("key"), max_tokens=1)), outcome)
    print(number, flush=True)
"""


def is_kept(url: str) -> bool:
    with open_database(url) as database:
        return bool(database.ledger.read_rows(limit=1))


def settle_and_kill(url: str, *arguments: str) -> tuple[list[float], float]:
    """Settle rows in a process until some are kept, and kill it. Returns when each was settled, and when that was."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    settled_at: list[float] = []
    try:
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        while time.monotonic() - began < RUN_S or not is_kept(url):
            process.stdin.write("\n")
            assert process.stdout.readline() == f"{len(settled_at)}\n"
            settled_at.append(time.monotonic())
    finally:
        killed_at = time.monotonic()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    return settled_at, killed_at


def test_without_a_journal_kill_9_loses_at_most_the_last_second(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'renga.db'}"
    settled_at, killed_at = settle_and_kill(url)
    with open_database(url) as database:
        kept = [row.request_id for row in database.ledger.read_rows(limit=len(settled_at))]
    assert kept == [f"req_{number}" for number in range(len(kept))]
    assert 0 < len(kept) <= len(settled_at)
    lost = settled_at[len(kept) :]
    assert not lost or killed_at - lost[0] <= LOSS_MAX_S


def test_with_a_journal_kill_9_loses_nothing(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path / 'renga.db'}", tmp_path / "data"
    settled_at, _ = settle_and_kill(url, str(folder))
    subprocess.run(
        [sys.executable, "-c", PROGRAM + "thread.stop()\n", url, str(folder)],
        input="",
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    with open_database(url) as database:
        kept = [row.request_id for row in database.ledger.read_rows(limit=len(settled_at) + 1)]
    assert sorted(kept) == sorted(f"req_{number}" for number in range(len(settled_at)))


def test_a_server_that_stops_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'renga.db'}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "thread.stop()\n", url],
        input="\n" * 500,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("499\n")
    with open_database(url) as database:
        assert len(database.ledger.read_rows()) == 500
