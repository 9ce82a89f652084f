"""The README's examples run as they stand, but for the address and the key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from renga.testing.servers.served import Served

README = Path(__file__).parents[3] / "README.md"
KEY = "sk-renga-..."


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def run(command: list[str], server: Served) -> str:
    environ = {"PATH": "/usr/bin:/bin", "RENGA_KEY": server.secret}
    done = subprocess.run(command, capture_output=True, text=True, timeout=45, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sdk_example(server: Served) -> None:
    (example,) = blocks("python")
    assert KEY in example
    example = example.replace("http://127.0.0.1:8080", server.url).replace(KEY, server.secret)
    (promised,) = re.findall(r"# (.+)", example)
    assert run([sys.executable, "-c", example], server) == promised


def test_the_curl_example(server: Served) -> None:
    examples = [block[block.index("curl ") :] for block in blocks("sh") if "curl " in block]
    assert examples
    if subprocess.run(["which", "curl"], capture_output=True, check=False).returncode:
        pytest.skip("curl is not installed")
    for example in examples:
        output = run(["sh", "-c", example.replace("http://127.0.0.1:8080", server.url)], server)
        assert '"type":"message"' in output
