"""Message batches of a real server, as the SDK and an operator meet them: life, refusals, cancel, kill -9, workers."""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import anthropic
import httpx2
import pytest
from anthropic import Anthropic

from renga.accounting.keys.key_ring import make_key
from renga.cli.program.commands import run
from renga.testing.batch_audit import WaveringUpstream, audit_batch, make_requests, wavering_config, wavering_upstream
from renga.testing.servers.postgresql import AVAILABLE, PostgresqlServer
from renga.testing.servers.served import Served, ServedSettings, respawned, served, wait_until

BATCHES = "/v1/messages/batches"
ROUNDS = int(os.environ.get("TEST_BATCH_KILLS", "1"))
"""How often the server is killed; more with `TEST_BATCH_KILLS=20`."""


@pytest.fixture(scope="module")
def upstream() -> Generator[WaveringUpstream]:
    with wavering_upstream(delay_s=0.01) as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: WaveringUpstream) -> Generator[Served]:
    with served(ServedSettings(wavering_config(upstream.url))) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Generator[Anthropic]:
    with Anthropic(base_url=server.url, api_key=server.secret, max_retries=0) as made:
        yield made


def wait_ended(client: Anthropic, batch_id: str) -> Any:
    wait_until(lambda: client.messages.batches.retrieve(batch_id).processing_status == "ended")
    return client.messages.batches.retrieve(batch_id)


def read_lines(client: Anthropic, batch_id: str) -> list[bytes]:
    return client.messages.batches.with_raw_response.results(batch_id).read().splitlines()


def post(server: Served, body: bytes) -> httpx2.Response:
    return httpx2.post(server.url + BATCHES, content=body, headers={"x-api-key": server.secret})


def test_a_batch_from_making_it_to_deleting_it(server: Served, client: Anthropic) -> None:
    requests: list[Any] = make_requests(40)
    requests.append({"custom_id": "without-messages", "params": {"model": "haiku", "max_tokens": 5}})
    requests.append({"custom_id": "streamed", "params": {**requests[0]["params"], "stream": True}})
    made = client.messages.batches.create(requests=requests)
    assert made.processing_status == "in_progress"
    assert made.request_counts.processing == 42
    assert made.results_url is None
    assert (made.expires_at - made.created_at).total_seconds() == 24 * 3600

    ended = wait_ended(client, made.id)
    assert ended.request_counts.model_dump() == {
        "processing": 0,
        "succeeded": 40,
        "errored": 2,
        "canceled": 0,
        "expired": 0,
    }
    assert ended.results_url == f"{server.url}{BATCHES}/{made.id}/results"
    results = {line.custom_id: line.result for line in client.messages.batches.results(made.id)}
    assert list(results) == [request["custom_id"] for request in requests]
    answer: Any = results["request-0"]
    assert answer.message.usage.service_tier == "batch"
    refusals = {name: results[name].error.error for name in ("without-messages", "streamed")}  # type: ignore[union-attr]
    assert {name: error.type for name, error in refusals.items()} == dict.fromkeys(refusals, "invalid_request_error")
    assert "messages" in refusals["without-messages"].message
    assert "stream" in refusals["streamed"].message
    with server.open_database() as database:
        audit = audit_batch(database, made.id, read_lines(client, made.id)[:40], 40)
    assert audit.faults == ()

    assert client.messages.batches.cancel(made.id).processing_status == "ended"
    for _ in range(2):
        assert client.messages.batches.delete(made.id).type == "message_batch_deleted"
    for ask in (client.messages.batches.retrieve, client.messages.batches.cancel):
        with pytest.raises(anthropic.NotFoundError):
            ask(made.id)
    assert made.id not in [batch.id for batch in client.beta.messages.batches.list()]


def test_pages_go_from_the_newest_to_the_oldest(client: Anthropic) -> None:
    ids = [client.messages.batches.create(requests=make_requests(1)).id for _ in range(3)][::-1]
    listed = [batch.id for batch in client.messages.batches.list(limit=1000)]
    assert listed[:3] == ids
    first = client.messages.batches.list(limit=2)
    assert [batch.id for batch in first.data] == ids[:2]
    assert (first.has_more, first.first_id, first.last_id) == (len(listed) > 2, ids[0], ids[1])
    assert [batch.id for batch in client.messages.batches.list(limit=1, after_id=ids[0]).data] == [ids[1]]
    assert [batch.id for batch in client.messages.batches.list(limit=1, before_id=ids[2]).data] == [ids[1]]
    assert client.messages.batches.list(after_id="msgbatch_other").data == []
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client.messages.batches.list(limit=0)
    for batch_id in ids:
        wait_ended(client, batch_id)


def test_a_key_sees_its_own_batches(server: Served, client: Anthropic) -> None:
    mine = client.messages.batches.create(requests=make_requests(1))
    other = make_key("other", time.time_ns() // 1000)
    with server.open_database() as database:
        database.keys.create(other.row)
    stranger = Anthropic(base_url=server.url, api_key=other.secret, max_retries=0)
    with stranger:

        def is_known() -> bool:
            try:
                return stranger.messages.batches.list().data == []
            except anthropic.AuthenticationError:
                return False

        wait_until(is_known)
        for ask in (
            stranger.messages.batches.retrieve,
            stranger.messages.batches.cancel,
            stranger.messages.batches.delete,
        ):
            with pytest.raises(anthropic.NotFoundError):
                ask(mine.id)
    wait_ended(client, mine.id)


ONE = b'{"custom_id":"a","params":{}}'


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "no body"),
        (b"[]", "requests"),
        (b"{}", "requests: Field required."),
        (b'{"requests":[],"more":1}', "not valid JSON"),
        (b'{"more":1,"requests":[]}', "more: Extra inputs are not permitted."),
        (b'{"requests":[]}', "requests: Must hold at least one request."),
        (b'{"requests":[1]}', "requests.0: Must be an object"),
        (b'{"requests":[' + ONE + b"," + ONE + b"]}", "requests.1.custom_id: 'a' is also that of requests.0"),
        (b'{"requests":[{"custom_id":"a b","params":{}}]}', "requests.0.custom_id: Must be 1 to 64 characters"),
        (b'{"requests":[{"custom_id":7,"params":{}}]}', "requests.0.custom_id: Must be a string."),
        (b'{"requests":[{"custom_id":"a"}]}', "requests.0.params: Field required."),
        (b'{"requests":[{"custom_id":"a","params":[]}]}', "requests.0.params: Must be an object."),
        (b'{"requests":[{"custom_id":"a","params":{},"x":1}]}', "requests.0.x: Extra inputs are not permitted."),
        (b'{"requests":[' + ONE, "it ends too early"),
        (b'{"requests":[' + ONE + ONE + b"]}", "a comma is missing after requests.0"),
    ],
)
def test_refusals_name_the_place(server: Served, body: bytes, complaint: str) -> None:
    response = post(server, body)
    assert response.status_code == 400
    assert complaint in response.json()["error"]["message"]


def test_a_body_that_is_too_long_is_refused_before_it_is_read(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("POST", BATCHES)
    connection.putheader("x-api-key", server.secret)
    connection.putheader("content-length", str(300 * 1024 * 1024))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_batch_that_is_cancelled_keeps_what_was_answered(
    server: Served, client: Anthropic, upstream: WaveringUpstream
) -> None:
    upstream.delay_s = 0.3
    try:
        made = client.messages.batches.create(requests=make_requests(200))
        before = upstream.answered
        wait_until(lambda: upstream.answered > before)
        with pytest.raises(anthropic.BadRequestError, match="has not ended"):
            client.messages.batches.delete(made.id)
        assert client.messages.batches.cancel(made.id).processing_status == "canceling"
        ended = wait_ended(client, made.id)
    finally:
        upstream.delay_s = 0.01
    assert ended.cancel_initiated_at is not None
    counts = ended.request_counts
    assert counts.succeeded > 0
    assert counts.canceled > 0
    assert counts.succeeded + counts.canceled == 200
    kinds = [line.result.type for line in client.messages.batches.results(made.id)]
    assert kinds.count("succeeded") == counts.succeeded
    with server.open_database() as database:
        rows = [row for row in database.ledger.read_rows(limit=100_000) if row.request_id.startswith(made.id)]
    assert len(rows) == counts.succeeded


def run_command(server: Served, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """`renga batch`, asking the running server."""
    monkeypatch.setenv("RENGA_URL", server.url)
    monkeypatch.setenv("RENGA_KEY", server.secret)
    return run(["batch", *arguments])


def test_files_are_answered_in_their_own_format(
    server: Served,
    client: Anthropic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    chat = {"model": "haiku", "messages": [{"role": "user", "content": "Hi"}]}
    body = {"custom_id": "chat", "method": "POST", "url": "/v1/chat/completions", "body": chat}
    wrong = {**body, "custom_id": "wrong", "body": {**chat, "model": "nobody"}}
    source.write_text("".join(json.dumps(line) + "\n" for line in (body, {**body, "custom_id": "other"}, wrong)))
    for _ in range(2):
        assert run_command(server, monkeypatch, "run", str(source), "-o", str(output)) == 0
        assert f"2 of 3 requests answered in {output}; 1 failed" in capsys.readouterr().out
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == ["chat", "other", "wrong"]
    completion = lines[0]["response"]["body"]
    assert completion["choices"][0]["message"]["content"].startswith("answer")
    assert abs(completion["created"] - time.time()) < 60
    assert lines[2]["response"]["status_code"] == 404
    assert not output.with_name("out.jsonl.batches").exists()


def test_a_run_that_was_cut_off_is_taken_up(
    server: Served,
    client: Anthropic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests = make_requests(12)
    source.write_text("".join(json.dumps(request) + "\n" for request in requests))
    # One answer is there, a second was cut off, and the batch of all but the last two was made.
    made = client.messages.batches.create(requests=cast("Any", requests[:10]))
    wait_ended(client, made.id)
    lines = read_lines(client, made.id)
    output.write_bytes(lines[0] + b"\n" + lines[1][:20])
    state = {"url": server.url, "batch_id": made.id, "custom_ids": [request["custom_id"] for request in requests[:10]]}
    output.with_name("out.jsonl.batches").write_text(json.dumps(state) + '\n{"url":')
    before = len(client.messages.batches.list(limit=1000).data)
    for _ in range(2):
        assert run_command(server, monkeypatch, "run", str(source), "-o", str(output)) == 0
    answered = [json.loads(line)["custom_id"] for line in output.read_bytes().splitlines()]
    assert sorted(answered) == sorted(request["custom_id"] for request in requests)
    assert output.read_bytes().startswith(b"\n".join(lines))
    batches = client.messages.batches.list(limit=1000).data
    assert len(batches) == before + 1
    assert batches[0].request_counts.succeeded == 2

    capsys.readouterr()
    assert run_command(server, monkeypatch, "results", batches[0].id) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run_command(server, monkeypatch, "list") == 0
    assert batches[0].id in capsys.readouterr().out
    assert run_command(server, monkeypatch, "get", batches[0].id) == 0
    assert run_command(server, monkeypatch, "cancel", batches[0].id) == 0
    assert run_command(server, monkeypatch, "get", "msgbatch_none") == 1


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "no requests"),
        ('{"custom_id":"a","params":{}}\n{"custom_id":"a","params":{}}\n', "in.jsonl:2: custom_id 'a' is also that of"),
        ('{"custom_id":"a"}\n', "in.jsonl:1: "),
        ('{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{}}\n', "in.jsonl:1: url: Must be"),
        ('{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}\n', "in.jsonl:1: body: "),
    ],
)
def test_a_wrong_line_is_named(lines: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(lines)
    assert run(["batch", "run", str(source), "-o", str(tmp_path / "out.jsonl")]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.timeout(40 + 20 * ROUNDS)
def test_kill_9_and_a_stop_in_good_order_lose_nothing_and_double_nothing(upstream: WaveringUpstream) -> None:
    """Wherever the server is cut off: one result and one ledger row a request, both of the same try."""
    count = 60 + 60 * ROUNDS
    with ExitStack() as stack:
        running = stack.enter_context(served(ServedSettings(wavering_config(upstream.url, max_running=2))))
        client = Anthropic(base_url=running.url, api_key=running.secret)
        made = client.messages.batches.create(requests=make_requests(count))
        for number in range(ROUNDS + 1):
            goal = upstream.answered + random.randrange(1, 30)
            wait_until(lambda goal=goal: upstream.answered >= goal)
            if number == ROUNDS:
                assert running.stop() == 0
            running = stack.enter_context(respawned(running))
        assert wait_ended(client, made.id).request_counts.succeeded == count
        with running.open_database() as database:
            assert audit_batch(database, made.id, read_lines(client, made.id), count).faults == ()
        assert "Traceback" not in running.log


@pytest.mark.timeout(120)
@pytest.mark.skipif("TEST_BATCH_KILLS" not in os.environ, reason="takes 20 s; set TEST_BATCH_KILLS")
@pytest.mark.skipif(not AVAILABLE, reason="PostgreSQL is not installed")
def test_two_workers_share_a_batch_and_one_takes_over_from_the_other(upstream: WaveringUpstream) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(PostgresqlServer()).create_database()
        settings = ServedSettings(wavering_config(upstream.url, max_running=4), store_url=url)
        first, second = [stack.enter_context(served(settings)) for _ in range(2)]
        client = Anthropic(base_url=second.url, api_key=second.secret)
        made = client.messages.batches.create(requests=make_requests(1000))
        goal = upstream.answered + 100
        wait_until(lambda: upstream.answered >= goal)
        first.process.kill()
        deadline = time.monotonic() + 90
        while client.messages.batches.retrieve(made.id).processing_status != "ended":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        with second.open_database() as database:
            assert audit_batch(database, made.id, read_lines(client, made.id), 1000).faults == ()
