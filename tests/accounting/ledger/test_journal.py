"""The journal: what kill -9 leaves of the rows that were not flushed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from renga.accounting.ledger.journal import MAPPED_BYTES, Journal
from renga.testing.suites.store_suite import make_row

WRITER = """
import sys, time
from pathlib import Path
from renga.accounting.ledger.journal import Journal
from renga.testing.suites.store_suite import make_row
journal = Journal(Path(sys.argv[1]))
journal.cut()
for number in range(3):
    journal.append(make_row(f"req_{number}"))
print("written", flush=True)
time.sleep(60)
"""


def names(journal: Journal, segment: Path) -> list[str]:
    return [row.request_id for row in journal.read(segment)]


def test_rows_go_through_segments_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "folder")
    assert journal.cut() is None, "the first begins"
    assert journal.cut() is None, "nothing was written"
    journal.append(make_row("req_1"))
    journal.append(make_row("req_2"))
    first = journal.cut()
    assert first is not None
    journal.append(make_row("req_3"))
    assert journal.read(first) == [make_row("req_1"), make_row("req_2")]
    journal.clear(first)
    second = journal.cut()
    assert second is not None
    assert names(journal, second) == ["req_3"]
    journal.clear(second)
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new" / "folder").iterdir()} == {0o600}


def test_a_killed_process_leaves_its_rows_to_the_next(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        journal, other = Journal(tmp_path), Journal(tmp_path)
        assert journal.find_left() == [], "its process lives"
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    (left,) = journal.find_left()
    assert names(journal, left) == ["req_0", "req_1", "req_2"]
    assert other.find_left() == [], "it has been taken over"
    journal.clear(left)
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_row_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path, mapped_bytes=0)
    journal.cut()
    journal.append(make_row("req_1"))
    segment = journal.cut()
    assert segment is not None
    with segment.open("ab") as file:
        file.write(b'{"request_id": "req_')
    assert names(journal, segment) == ["req_1"]
    assert "half-written" in caplog.text


def test_a_row_that_was_half_copied_is_skipped_whichever_half_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path, mapped_bytes=4096)
    journal.cut()
    journal.append(make_row("req_1"))
    journal.append(make_row("req_2"))
    segment = journal.cut()
    assert segment is not None
    whole = segment.read_bytes()
    first = whole.index(b"\n") + 1
    end = len(whole.rstrip(b"\0"))
    for cut in range(first, end - 64, 3):
        # The processor may copy a row's end before its beginning, and its middle last.
        beginning = whole[:cut] + bytes(len(whole) - cut)
        ending = whole[:first] + bytes(cut + 1 - first) + whole[cut + 1 :]
        both = whole[:cut] + bytes(32) + whole[cut + 32 :]
        for torn in (beginning, ending, both):
            segment.write_bytes(torn)
            assert names(journal, segment) == ["req_1"], cut


@pytest.mark.parametrize("mapped_bytes", [0, 3_000, MAPPED_BYTES])
def test_what_is_mapped_and_what_is_written_read_alike(tmp_path: Path, mapped_bytes: int) -> None:
    journal = Journal(tmp_path, mapped_bytes=mapped_bytes)
    journal.cut()
    rows = [make_row(f"req_{number}") for number in range(10)]
    for row in rows:
        journal.append(row)
    segment = journal.cut()
    assert segment is not None
    assert journal.read(segment) == rows
    size = sum(len(msgspec.json.encode(row)) + 1 for row in rows)
    assert segment.stat().st_size == max(size, mapped_bytes)


FULL = """
import resource, sys
from pathlib import Path
from renga.accounting.ledger.journal import Journal
from renga.testing.suites.store_suite import make_row
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
journal = Journal(Path(sys.argv[1]))
journal.cut()
for number in range(5):
    journal.append(make_row(f"req_{number}"))
segment = journal.cut()
print(*(row.request_id for row in journal.read(segment)))
"""


def test_a_full_disk_is_said_once_and_stops_nobody(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "req_0\n", "what fits"
    assert done.stderr.count("only in memory") == 1


def test_a_disk_that_has_room_again_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, mapped_bytes=0)
    journal.cut()
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, data[:10], offset))
    journal.append(make_row("req_0"))
    monkeypatch.undo()
    journal.append(make_row("req_1"))
    segment = journal.cut()
    assert segment is not None
    assert names(journal, segment) == ["req_1"]
