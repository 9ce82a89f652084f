"""What must not be found is planted, a real server is run through good and bad, and all that it left is searched.

Prompts, answers, keys of clients and keys of upstreams: not in the log, the database, the ledger's files, `/metrics` or
the audit; keys of upstreams in no answer either, not even where an upstream quotes them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from msgspec.structs import replace

from renga.accounting.keys.key_ring import make_key
from renga.domain.audit import AuditQuery
from renga.domain.keys import KeyRow
from renga.errors import RengaError
from renga.store.database import open_database
from renga.testing.servers.served import Served, ServedSettings, served, wait_until
from renga.testing.suites.store_suite import make_row

PROMPT, ANSWER = "planted-prompt-5d41402a", "planted-answer-7d793037"
CLIENT_KEY, WRONG_KEY = "sk-renga-planted-client-b4a1", "sk-renga-planted-wrong-9e10"
UPSTREAM_KEY, FILE_KEY = "sk-upstream-planted-env-c3fc", "sk-upstream-planted-file-eccb"
CONFIG = """\
[engine]
enabled = false

[admin]
port = 0

[tiers]
haiku = ["kind/good"]
sonnet = ["rude/refuse", "rude/fail"]
opus = ["kind/good"]

[policies.auto]
shadow_share = 1.0
shadow_usd_per_day = 10.0

[prices."kind/*"]
input_usd = 1.0
output_usd = 5.0

[cache]
responses = true

[providers.kind]
kind = "anthropic"
base_url = "{url}"
api_key_env = "PLANTED_UPSTREAM_KEY"
max_retries = 0

[providers.rude]
kind = "{kind}"
base_url = "{url}"
api_key_file = "{file}"
max_retries = 0
"""
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "good", "stop_reason": "end_turn",
    "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 5},
}  # fmt: skip


class Upstream(BaseHTTPRequestHandler):
    """Answers as the model's name says, and quotes all that it was told."""

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._send(404, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        model = msgspec.json.decode(body).get("model")
        if model == "good":
            content = [{"type": "text", "text": ANSWER}]
            if msgspec.json.decode(body).get("stream"):
                self._send(200, self._stream(), "text/event-stream")
            else:
                self._send(200, msgspec.json.encode({**MESSAGE, "content": content}))
            return
        if model == "vanish":
            self._send(200, self._stream()[:200], "text/event-stream")
            return
        status = {"refuse": 401, "deny": 403, "wrong": 400}.get(model, 500)
        quoted = f"{dict(self.headers)} {body.decode()}"
        error = {"type": "error", "error": {"type": "api_error", "message": quoted}}
        self._send(status, msgspec.json.encode(error))

    def _stream(self) -> bytes:
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**MESSAGE, "stop_reason": None, "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ]
        return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), msgspec.json.encode(e)) for e in events)

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module", params=["anthropic", "openai_compatible"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    file = tmp_path_factory.mktemp("secrets") / "key"
    file.write_text(FILE_KEY)
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    config = CONFIG.format(url=f"http://127.0.0.1:{upstream.server_port}", file=file, kind=request.param)
    os.environ["PLANTED_UPSTREAM_KEY"] = UPSTREAM_KEY
    try:
        with served(ServedSettings(config, secret=CLIENT_KEY, ready_limit_s=15)) as running:
            yield running
    finally:
        del os.environ["PLANTED_UPSTREAM_KEY"]
        upstream.shutdown()
        upstream.server_close()


def body_of(model: str, **fields: object) -> bytes:
    body = {
        "model": model, "max_tokens": 20, "system": f"System {PROMPT}", "metadata": {"user_id": PROMPT},
        "messages": [{"role": "user", "content": [{"type": "text", "text": f"Say {PROMPT}"}]}],
        "tools": [{"name": "look", "description": PROMPT, "input_schema": {"type": "object"}}],
    }  # fmt: skip
    return msgspec.json.encode({**body, **fields})


def ask_everything(server: Served) -> list[httpx2.Response]:
    """Requests that succeed, that are refused here, and that fail at the upstream."""
    bodies = [body_of("haiku"), body_of("haiku", stream=True), body_of("sonnet"), body_of("sonnet", stream=True)]
    bodies += [body_of("auto"), body_of("auto", stream=True)] * 2
    for model in ("fail", "deny", "wrong", "vanish", "refuse"):
        bodies += [body_of(f"rude/{model}"), body_of(f"rude/{model}", stream=True), body_of(f"kind/{model}")]
    bodies += [
        body_of("haiku", max_tokens=PROMPT), body_of("haiku", messages=[{"role": PROMPT, "content": PROMPT}]),
        body_of("haiku", tool_choice={"type": PROMPT}), b'{"model": "haiku", "messages": "%s' % PROMPT.encode(),
        PROMPT.encode(), b'{"a": "\xff%s"}' % PROMPT.encode(),
    ]  # fmt: skip
    answers: list[httpx2.Response] = []
    with httpx2.Client(base_url=server.url, timeout=15) as client:
        for body in bodies:
            answers.append(client.post("/v1/messages", content=body, headers={"x-api-key": CLIENT_KEY}))
        answers.append(client.post("/v1/messages/count_tokens", content=bodies[0], headers={"x-api-key": CLIENT_KEY}))
        answers.append(client.post("/v1/messages", content=bodies[0], headers={"x-api-key": WRONG_KEY}))
        answers.append(client.post("/v1/messages", content=bodies[0], headers={"authorization": f"Bearer {WRONG_KEY}"}))
        answers.append(client.post(f"/v1/nothing/{PROMPT[:8]}", headers={"x-api-key": CLIENT_KEY}))
    return answers


def search(folder: Path, *planted: str) -> list[str]:
    """Which of them are in which files, renga.toml aside."""
    return [
        f"{text} in {file.name}"
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "renga.toml"
        for text in planted
        if text.encode() in file.read_bytes()
    ]


def test_nothing_that_was_planted_is_found(server: Served) -> None:
    answers = ask_everything(server)
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 404}
    assert ANSWER in answers[0].text
    assert ANSWER in answers[1].text
    for answer in answers:
        for secret in (UPSTREAM_KEY, FILE_KEY, CLIENT_KEY, WRONG_KEY):
            assert secret not in answer.text, answer.text[:500]
            assert secret not in str(answer.headers)
    wait_until(lambda: server.gauges()["renga_ledger_queue_rows"] == 0)
    with server.open_database() as database:
        rows = database.ledger.read_rows(limit=1000)
        audit = database.audit.read(AuditQuery())
        stored = repr((rows, audit, database.keys.read()))
    assert len(rows) >= 15
    assert {row.surface for row in rows} >= {"messages", "shadow"}
    metrics = server.get("/metrics")[1].decode()
    planted = (PROMPT, ANSWER, CLIENT_KEY, WRONG_KEY, UPSTREAM_KEY, FILE_KEY)
    for text in planted:
        assert text not in stored
        assert text not in metrics
    assert search(server.folder, *planted) == []


def test_a_search_finds_what_is_there(tmp_path: Path) -> None:
    """That the test above can fail."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.db").write_bytes(b"\0\1" + PROMPT.encode() + b"\2")
    assert search(tmp_path, PROMPT, ANSWER) == [f"{PROMPT} in b.db"]


def test_a_password_in_the_databases_url_is_in_no_error() -> None:
    pytest.importorskip("psycopg")
    for url in (f"postgresql://u:{UPSTREAM_KEY}@127.0.0.1:9/x", f"nonsense://u:{UPSTREAM_KEY}@h/x", f"x{UPSTREAM_KEY}"):
        with pytest.raises(RengaError) as refused:
            open_database(url)
        assert UPSTREAM_KEY not in refused.value.sentence()


def test_the_database_logs_statements_and_never_their_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path / 'renga.db'}"
    with caplog.at_level(logging.DEBUG, logger="sqlalchemy.engine"), open_database(url) as database:
        database.keys.create(replace(make_key("x", 1).row, name=PROMPT))
        database.ledger.write_rows([replace(make_row("req_1"), requested_model=PROMPT)])
        with pytest.raises(RengaError) as refused:
            database.keys.create(KeyRow("key_1", PROMPT, None, "abcd", 1))  # type: ignore[arg-type]
    assert "INSERT INTO keys" in caplog.text
    assert "INSERT INTO ledger" in caplog.text
    assert PROMPT not in caplog.text + refused.value.sentence()
