"""A server that cannot start says so in one line."""

from __future__ import annotations

import re
import signal
import socket

import pytest
from tests.cli.conftest import Shell

LIMIT_S = 30


@pytest.mark.parametrize("model", ["nothing", "./nowhere.gguf", "models/nowhere.gguf", "nowhere/"])
def test_a_model_that_is_not_there(shell: Shell, model: str) -> None:
    done = shell.call("serve", "--port", "0", "--model", model)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"renga: there is no model '{model}' (give hokku, ")
    assert done.err.count("\n") == 1


def test_a_data_folder_that_cannot_be_used_leaves_no_traceback(shell: Shell) -> None:
    (shell.folder / "file").touch()
    done = shell.run("serve", "--port", "0", "--no-engine", "--data-dir", "file")
    assert done.code == 1
    assert done.err.endswith(
        "renga: cannot write file/renga.db: File exists (set store.data_dir or RENGA_STORE_DATA_DIR)\n"
    )
    assert "Traceback" not in done.err


def test_a_cache_that_cannot_be_written_is_named(shell: Shell) -> None:
    (shell.folder / "cache").touch()
    done = shell.run("serve", "--port", "0")
    assert done.code == 1
    assert done.err.startswith("renga: cannot keep the model in ")
    assert "XDG_CACHE_HOME" in done.err
    assert done.err.count("\n") == 1


def test_a_tier_names_the_local_model_that_runs(shell: Shell) -> None:
    shell.write_config('[tiers]\nhaiku = ["local/other"]\n')
    done = shell.call("serve", "--port", "0")
    assert done.code == 1
    assert done.err.startswith(
        'renga: tiers.haiku: "local/other" is not the local model that runs, which is "local/hokku" ('
    )


def test_a_database_that_is_none_is_named(shell: Shell) -> None:
    file = shell.folder / "data" / "renga" / "renga.db"
    file.write_text("not a database at all" * 10)
    done = shell.call("keys", "list")
    assert done.code == 1
    assert done.err == (
        "renga: the database refused: file is not a database "
        f"(look at {file}: is it there, is it Renga's, and has it room?)\n"
    )


def test_a_stop_says_what_it_waits_for_and_a_second_one_does_not_wait(connected: Shell) -> None:
    secret = connected.call("keys", "create", "web").out.strip()
    process = connected.start("serve", "--port", "0")
    with process, socket.socket() as client:
        assert process.stdout is not None
        assert process.stderr is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found is not None
        client.settimeout(LIMIT_S)
        client.connect(("127.0.0.1", int(found[1])))
        head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: {secret}\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # now it is running, and its body will not come
        process.send_signal(signal.SIGINT)
        assert "stopping: running requests (1) have 10 s to end" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
        assert "Traceback" not in process.stderr.read()
