"""`renga batch`: run files of requests at half price, and look after batches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
import typer

from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, UrlOption, read_config

if TYPE_CHECKING:
    from renga.cli.batches.batch_lines import MadeBatch, RequestLine, ResultFile
    from renga.cli.shell.server_connection import ServerConnection

BATCHES = "/v1/messages/batches"
_BATCH_BYTES = 200 * 1024 * 1024
_BATCH_REQUESTS = 50_000
_WRITE_LINES = 500
_POLL_S = (0.2, 0.5, 1.0, 2.0)

batch = typer.Typer(help="Run files of requests at half price, and look after batches.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's id.")]


@batch.command("run")
def run(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="Requests, one JSON object a line.", exists=True, dir_okay=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where answers go, as they come.")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    url: UrlOption = None,
) -> int:
    """Answer a file of requests. Run it again to go on where it was cut off.

    Lines are {"custom_id", "params"} or, as in OpenAI's batch files, {"custom_id", "method", "url", "body"}; answers
    come in the same format. Starts a server itself unless --url names one.
    """
    from renga.cli.batches.batch_lines import ResultFile, read_input
    from renga.cli.shell.server_connection import environ, open_connection, wait_ready

    format_, lines = read_input(source)
    answers = ResultFile(output, format_, lines)
    settings = read_config(config, data_dir)
    with open_connection(settings, url, environ()) as connection:
        try:
            if not url:
                wait_ready(connection, settings)
            missing = _Run(connection, url or "", answers).finish(lines)
        except KeyboardInterrupt:
            # Said before the server of this command has ended, which takes up to `server.drain_timeout_s`.
            print("Stopping. The same command again goes on from here.", file=sys.stderr)
            raise
    if missing:
        print(f"{missing} of {len(lines)} requests have no answer: cancelled or expired; run it again to ask for them")
        return 1
    answers.finish()
    failed = len(answers.failed.intersection(line.custom_id for line in lines))
    answered = f"{len(lines) - failed} of {len(lines)} requests answered in {output}"
    print(f"{answered}; {failed} failed, and their lines say why" if failed else answered)
    return 0


@batch.command("list")
def list_(
    config: ConfigOption = None, data_dir: DataOption = None, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List the batches of the key, newest first."""
    from renga.cli.shell.table import Column, print_json, print_table

    page = _ask(config, data_dir, url, lambda connection: connection.get_json(f"{BATCHES}?limit=100"))
    rows = cast("dict[str, list[dict[str, Any]]]", page)["data"]
    if as_json:
        print_json(rows)
        return
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    columns = [Column("batch"), Column("status"), Column("made"), *(Column(name, True) for name in names)]
    print_table(
        columns,
        [
            [row["id"], row["processing_status"], row["created_at"][:16].replace("T", " ")]
            + [str(row["request_counts"][name]) for name in names]
            for row in rows
        ],
    )


@batch.command("get")
def get(batch_id: IdArgument, config: ConfigOption = None, data_dir: DataOption = None, url: UrlOption = None) -> None:
    """Show one batch as it is now, as JSON."""
    from renga.cli.shell.table import print_json

    print_json(_ask(config, data_dir, url, lambda connection: connection.get_json(f"{BATCHES}/{batch_id}")))


@batch.command("cancel")
def cancel(
    batch_id: IdArgument, config: ConfigOption = None, data_dir: DataOption = None, url: UrlOption = None
) -> None:
    """End a batch; what was answered stays, and so does what runs, if it ends within 10 seconds."""
    from renga.cli.shell.table import print_json

    print_json(_ask(config, data_dir, url, lambda connection: _post(connection, f"{BATCHES}/{batch_id}/cancel", b"")))


@batch.command("results")
def results(
    batch_id: IdArgument, config: ConfigOption = None, data_dir: DataOption = None, url: UrlOption = None
) -> None:
    """Print the results of a batch that has ended, one JSON object a line."""
    from renga.cli.shell.server_connection import environ, open_connection

    with open_connection(read_config(config, data_dir), url, environ()) as connection:
        for some in _read_results(connection, batch_id):
            print(b"".join(some).decode(), end="")


class _Run:
    """One run of a file: batches made, waited for, read."""

    def __init__(self, connection: ServerConnection, url: str, answers: ResultFile) -> None:
        self._connection = connection
        self._url = url
        self._answers = answers

    def finish(self, lines: Sequence[RequestLine]) -> int:
        """Answer what has no answer. Returns how many are left without one."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        wanted = {line.custom_id for line in lines}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, disable=not sys.stdout.isatty()) as progress:
            task = progress.add_task("answered", total=len(wanted), completed=len(wanted & self._answers.answered))

            def show(done: int) -> None:
                progress.update(task, completed=min(len(wanted), len(wanted & self._answers.answered) + done))

            for batch_ in self._make_batches(lines):
                self._wait(batch_, show)
                for some in _read_results(self._connection, batch_.batch_id):
                    self._answers.write(some, batch_.batch_id)
                    show(0)
        return len(wanted - self._answers.answered)

    def _make_batches(self, lines: Sequence[RequestLine]) -> list[MadeBatch]:
        """The batches that earlier runs made and that may still answer something, and new ones for the rest."""
        from renga.cli.batches.batch_lines import MadeBatch

        batches: list[MadeBatch] = []
        asked: set[str] = set()
        for made in self._answers.read_batches():
            if (
                made.url == self._url
                and not self._answers.answered.issuperset(made.custom_ids)
                and self._is_alive(made)
            ):
                batches.append(made)
                asked.update(made.custom_ids)
        rest = [line for line in lines if line.custom_id not in self._answers.answered and line.custom_id not in asked]
        for some in _split(rest):
            body = b'{"requests":[' + b",".join(_render_request(line) for line in some) + b"]}"
            made = cast("dict[str, Any]", _post(self._connection, BATCHES, body))
            batch_ = MadeBatch(self._url, made["id"], tuple(line.custom_id for line in some))
            self._answers.note_batch(batch_)
            batches.append(batch_)
        return batches

    def _is_alive(self, made: MadeBatch) -> bool:
        """Whether a batch of an earlier run is there, and will answer or has answered something."""
        from renga.errors import NotFound

        try:
            found = cast("dict[str, Any]", self._connection.get_json(f"{BATCHES}/{made.batch_id}"))
        except NotFound:
            return False
        counts = found["request_counts"]
        return found["archived_at"] is None and counts["processing"] + counts["succeeded"] + counts["errored"] > 0

    def _wait(self, batch_: MadeBatch, show: Callable[[int], None]) -> None:
        looks = 0
        while True:
            found = cast("dict[str, Any]", self._connection.get_json(f"{BATCHES}/{batch_.batch_id}"))
            if found["processing_status"] == "ended":
                return
            show(found.get("renga", {}).get("done", 0))
            time.sleep(_POLL_S[min(looks, len(_POLL_S) - 1)])
            looks += 1


def _ask(
    config: Path | None, data_dir: Path | None, url: str | None, work: Callable[[ServerConnection], object]
) -> object:
    from renga.cli.shell.server_connection import environ, open_connection
    from renga.errors import NotFound

    with open_connection(read_config(config, data_dir), url, environ()) as connection:
        try:
            return work(connection)
        except NotFound as error:
            if url:
                raise
            hint = "asked was what batches this command made; --url and RENGA_KEY ask a server for those of a key"
            raise NotFound(error.message.partition(" (")[0], hint=hint) from error


def _post(connection: ServerConnection, path: str, body: bytes) -> object:
    from renga.cli.shell.server_connection import read_error

    with connection.request("POST", path, body) as response:
        data = response.read()
    if response.status >= 400:
        raise read_error(response.status, data)
    return msgspec.json.decode(data)


def _read_results(connection: ServerConnection, batch_id: str) -> Iterator[list[bytes]]:
    """The lines of a batch's results, some at a time.

    Raises: ApiError if they break off; those before are whole.
    """
    from http.client import HTTPException

    from renga.cli.shell.server_connection import read_error
    from renga.errors import ApiError

    with connection.request("GET", f"{BATCHES}/{batch_id}/results") as response:
        if response.status >= 400:
            raise read_error(response.status, response.read())
        while True:
            try:
                some = [line for line in islice(response, _WRITE_LINES) if line.endswith(b"\n")]
            except (HTTPException, OSError) as error:
                raise ApiError(f"the connection was lost: {error}", hint="run it again to go on") from error
            if not some:
                return
            yield some


def _render_request(line: RequestLine) -> bytes:
    return b'{"custom_id":%b,"params":%b}' % (msgspec.json.encode(line.custom_id), bytes(line.params))


def _split(lines: Sequence[RequestLine]) -> list[list[RequestLine]]:
    """As many to a batch as it may hold."""
    batches: list[list[RequestLine]] = []
    size = _BATCH_BYTES
    for line in lines:
        if size + len(line.params) > _BATCH_BYTES or len(batches[-1]) >= _BATCH_REQUESTS:
            batches.append([])
            size = 0
        batches[-1].append(line)
        size += len(line.params) + 100
    return batches
