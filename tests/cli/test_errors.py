"""Errors are one line and an exit code; help is quick."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.cli.conftest import LIMIT_S, Shell


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


HELP = """
import sys
from renga.cli.program.commands import run
code = run(["--help"])
slow = {"dbos", "numpy", "openvino_genai", "sqlalchemy", "tokenizers", "uvicorn"}
sys.exit(code or " ".join(slow & set(sys.modules)) or 0)
"""


def test_help_loads_nothing_that_takes_its_time() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_the_version(shell: Shell) -> None:
    assert shell.call("--version").out.startswith("renga 0.")
