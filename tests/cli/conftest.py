"""Commands run as users run them: the installed `renga`, in a process of its own, in an empty folder."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from renga.cli.program.commands import run
from renga.store.database import open_database
from renga.testing.servers.scripted_upstream import echo_config, echo_upstream

RENGA = Path(sys.executable).with_name("renga")
LIMIT_S = 45


class Run(Struct, frozen=True):
    """What a command did."""

    code: int
    out: str
    err: str


class Shell:
    """A folder with its own settings and data, and an environment without anything of the machine's user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'data' / 'renga' / 'renga.db'}"

    def write_config(self, text: str) -> None:
        (self.folder / "renga.toml").write_text(text)

    def run(self, *arguments: str, stdin: str = "") -> Run:
        done = subprocess.run(
            [RENGA, *arguments],
            cwd=self.folder, env=self.environ, input=stdin, capture_output=True, text=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
        return Run(done.returncode, done.stdout, done.stderr)

    def call(self, *arguments: str, stdin: str = "") -> Run:
        """The same without a process, which is 0.4 s sooner: for the variants of what `run` showed once."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            unittest.mock.patch.dict(os.environ, self.environ, clear=True),
            unittest.mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(list(arguments))
        return Run(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [RENGA, *arguments],
            cwd=self.folder, env=self.environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to copy: making one costs every command another 0.3 s."""
    file = tmp_path_factory.mktemp("database") / "renga.db"
    open_database(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def shell(tmp_path: Path, empty_database: Path) -> Shell:
    shell = Shell(tmp_path)
    folder = tmp_path / "data" / "renga"
    folder.mkdir(parents=True)
    shutil.copy(empty_database, folder)
    return shell


@pytest.fixture(scope="session")
def upstream_url() -> Iterator[str]:
    """An upstream that answers anything with the word `token`, three times."""
    with echo_upstream(events=3) as url:
        yield url


@pytest.fixture
def connected(shell: Shell, upstream_url: str) -> Shell:
    """A shell whose tiers lead to that upstream, without a local model."""
    shell.write_config(echo_config(upstream_url))
    return shell


def read_lines(out: str) -> dict[str, str]:
    """The `name  value` lines; sentences are left out."""
    return dict(re.findall(r"^([a-z\d.]+(?: [a-z]+)?) {2,}(.+)$", out, re.MULTILINE))
