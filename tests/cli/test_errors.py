"""Errors are one line and an exit code; help is quick."""

from __future__ import annotations

import time

import pytest
from tests.cli.conftest import Shell

HELP_LIMIT_S = 1.0
"""0.17 s on two idle cores; this is what may never happen on a busy machine."""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["frob"], 2, "No such command 'frob'."),
        (["serve", "--prot", "1"], 2, "No such option"),
        (["serve", "--port", "99999"], 2, "less than or equal to 65535"),
        (["keys", "revoke"], 2, "Missing argument 'KEY'"),
        (["usage", "--by", "week"], 2, "cannot group by 'week'"),
        (["usage", "--since", "yesterday"], 2, "'yesterday' is no day; write it as 2026-11-01"),
        (["get", "v1/models"], 2, "is not a path"),
        (["ask"], 2, "nothing to ask"),
        (["serve", "--config", "missing.toml"], 1, "missing.toml: cannot read it"),
        (["keys", "revoke", "nobody"], 1, "no working key is called 'nobody'"),
        (["ask", "hello", "--url", "http://127.0.0.1:9"], 1, "no key for that server"),
    ],
)
def test_an_error_is_one_line(shell: Shell, arguments: list[str], code: int, message: str) -> None:
    done = shell.call(*arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("renga: ")
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("group", [[], ["keys"], ["batch"]])
def test_without_a_command_there_is_help(shell: Shell, group: list[str]) -> None:
    done = shell.call(*group)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: renga ")
    assert "(`renga --help`" not in done.err


def test_a_wrong_setting_is_named_with_its_line(shell: Shell) -> None:
    shell.write_config("[server]\nprot = 1\n")
    done = shell.run("keys", "list")
    assert done.code == 1
    assert done.err == "renga: renga.toml:2: unknown setting `server.prot` (did you mean `server.port`?)\n"


def test_a_traceback_only_when_asked_for(shell: Shell) -> None:
    done = shell.call("--debug", "keys", "revoke", "nobody")
    assert "Traceback" in done.err
    assert done.err.endswith("(`renga keys list` shows them)\n")


def test_nobody_listens_there(shell: Shell) -> None:
    shell.environ["RENGA_KEY"] = "sk-x"
    done = shell.call("get", "/health", "--url", "http://127.0.0.1:9")
    assert done.code == 1
    assert "no answer from http://127.0.0.1:9" in done.err


def test_help_is_quick(shell: Shell) -> None:
    took_s: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        assert shell.run("--help").code == 0
        took_s.append(time.monotonic() - began)
    assert min(took_s) < HELP_LIMIT_S


def test_the_version(shell: Shell) -> None:
    assert shell.call("--version").out.startswith("renga 0.")
