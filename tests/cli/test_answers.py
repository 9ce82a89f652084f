"""Commands that need a server: one that runs, or their own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec import Struct
from tests.cli.conftest import LIMIT_S, RENGA, Shell

from renga import ids
from renga.testing.servers.served import wait_until


class Started(Struct, frozen=True):
    url: str
    lines: list[str]
    process: subprocess.Popen[str]

    def status(self, secret: str) -> int:
        """What a request with this key gets."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request("GET", "/v1/models", headers={"x-api-key": secret})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def wait_status(self, secret: str, status: int) -> None:
        """Ask until it gets this status."""
        wait_until(lambda: self.status(secret) == status)


@contextmanager
def serve(shell: Shell, last_line: str) -> Generator[Started]:
    """`renga serve` on a free port, until `last_line` was printed; ended with Ctrl-C."""
    process = shell.start("serve", "--port", "0")
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if last_line in line:
                break
        found = re.search(r"http://\S+", lines[0]) if lines else None
        assert found is not None, process.stderr.read()
        yield Started(found[0], lines, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_get_needs_no_server(connected: Shell) -> None:
    done = connected.run("get", "/v1/models/haiku")
    assert (done.code, done.err) == (0, "")
    model = json.loads(done.out)
    assert (model["id"], model["renga"]["targets"]) == ("haiku", ["echo/echo"])
    refused = connected.call("get", "/v1/models/nothing")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("renga: 404: model: nothing")


def test_ask_answers_by_itself_and_is_accounted_for(connected: Shell) -> None:
    done = connected.run("ask", "Hello")
    assert (done.code, done.out, done.err) == (0, "token token token \n", "")
    (row,) = msgspec.json.decode(connected.call("usage", "--json").out)
    assert (row["requests"], row["failures"], row["target"], row["tier"]) == (1, 0, "echo/echo", "haiku")
    assert float(row["cost_usd"]) > 0
    assert connected.call("keys", "list").out.startswith("No keys yet")


def test_ask_says_why_it_cannot(connected: Shell) -> None:
    done = connected.call("ask", "Hello", "--model", "opus")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("renga: ")
    assert done.err.count("\n") == 1


def test_models(connected: Shell) -> None:
    table, _, reasons = connected.call("models").out.partition("\n\n")
    lines = table.splitlines()
    assert lines[0].split() == ["model", "line", "input", "output", "answered", "by"]
    by_name = {line.split()[0]: line.split() for line in lines[1:]}
    assert by_name["claude-haiku-5-5"][-1] == "echo/echo"
    assert by_name["opus"][-1] == "nothing"
    assert reasons.startswith("nothing: no target")


def test_the_first_start_makes_a_key_and_shows_how_to_use_it(connected: Shell) -> None:
    with serve(connected, "print(") as first:
        text = "\n".join(first.lines)
        secrets = set(re.findall(r"sk-renga-\w{43}", text))
        assert len(secrets) == 1
        (secret,) = secrets
        assert first.lines[0] == f"Renga listens on {first.url} (local model: none). Ctrl-C stops it."
        assert first.lines[1].startswith("No target for sonnet, opus: set ANTHROPIC_API_KEY, or write [tiers]")
        assert first.status(secret) == 200
        command = re.search(r"curl .*\n.*", text)
        assert command is not None
        answer = subprocess.run(command[0], shell=True, capture_output=True, text=True, timeout=LIMIT_S, check=True)
        assert json.loads(answer.stdout)["content"][0]["text"].startswith("token")
        connected.environ |= {"RENGA_KEY": secret, "RENGA_URL": first.url}
        assert connected.run("ask", stdin="Hello").out == "token token token \n"
        for arguments, stdin in ((["ask", "Hello"], ""), (["ask", "-"], "Hello")):
            assert connected.call(*arguments, stdin=stdin).out == "token token token \n"
        assert json.loads(connected.run("get", "/v1/models/haiku").out)["id"] == "haiku"
    with serve(connected, "makes another") as second:
        assert not re.search(r"sk-renga-\w{43}", "\n".join(second.lines))
        assert second.status(secret) == 200
    with_sdk = re.search(r"from anthropic.*", text, re.DOTALL)
    assert with_sdk is not None
    assert len([line for line in with_sdk[0].splitlines() if line.strip()]) == 4


def test_a_running_server_sees_keys_come_and_go(connected: Shell) -> None:
    with serve(connected, "print(") as server:
        assert server.status(ids.key_secret()) == 401
        secret = connected.call("keys", "create", "laptop").out.strip()
        server.wait_status(secret, 200)
        assert connected.call("keys", "revoke", "laptop").code == 0
        server.wait_status(secret, 401)


def test_a_port_that_is_taken(connected: Shell) -> None:
    with serve(connected, "print(") as server:
        port = str(urlsplit(server.url).port)
        done = connected.call("serve", "--port", port)
        assert done.code == 1
        assert done.err.startswith(f"renga: cannot listen on 127.0.0.1:{port}")
        assert "--port" in done.err
        connected.environ["RENGA_SERVER_PORT"] = port
        assert "ok    port: a Renga listens on" in connected.run("doctor").out


def test_the_doctor_finds_nothing_wrong(connected: Shell) -> None:
    connected.environ["RENGA_SERVER_PORT"] = "0"
    done = connected.run("doctor", "--online")
    assert done.code == 0, done.out
    subjects = re.findall(r"^(\w+) +([\w ]+):", done.out, re.MULTILINE)
    assert ("ok", "database") in subjects
    assert ("ok", "tier haiku") in subjects
    assert ("warn", "tier opus") in subjects
    assert "-> " in done.out
    assert not [subject for level, subject in subjects if level == "fail"]


@pytest.mark.parametrize(
    ("config", "subject", "remedy"),
    [
        ("[server]\nprot = 1", "settings", ""),
        ("[engine]\nenabled = false", "server", ""),
        (
            "[engine]\nenabled = false\n[providers.a]\nkind='anthropic'\nbase_url='http://127.0.0.1:9'\n"
            "api_key_env='NO_SUCH_KEY'",
            "provider a",
            "export NO_SUCH_KEY=...",
        ),
        ("[store]\ndata_dir = '/proc/none'\n[engine]\nenabled = false", "store", "RENGA_STORE_DATA_DIR"),
    ],
)
def test_the_doctor_finds_what_is_wrong(shell: Shell, config: str, subject: str, remedy: str) -> None:
    shell.write_config(config)
    shell.environ["RENGA_SERVER_PORT"] = "0"
    done = shell.call("doctor", "--json")
    assert done.code == 1, done.out
    findings = [finding for finding in json.loads(done.out) if finding["level"] == "fail"]
    assert subject in [finding["subject"] for finding in findings]
    assert any(remedy in finding["remedy"] for finding in findings)
    assert "Traceback" not in done.err


def test_output_that_nobody_reads_to_the_end(connected: Shell) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" get /v1/models | head -c 1', os.fspath(RENGA)],
        cwd=connected.folder, env=connected.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{", "")


def test_a_batch_of_a_key_is_not_one_of_the_commands_own(connected: Shell) -> None:
    done = connected.call("batch", "get", "msgbatch_01H2v8")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("renga: 404: There is no batch 'msgbatch_01H2v8'. (")
    assert "--url and RENGA_KEY" in done.err
