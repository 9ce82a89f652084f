"""Environments of their own for the official SDKs, made once and kept in `.venv-conformance`.

Owns: which versions are tested, how they are installed, and where the SDK's own tests are found.
Must never know: the server under test.
Invariant: an environment whose `installed` file names its requirements is whole; any other is made again.

Source: the recipe and the test requirements, docs/reference/messages-api.md, "The SDK's own tests". Only what the
collected tests import.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".venv-conformance"
PIP_ATTEMPTS, PIP_PAUSE_S = 3, 5
SUITE_VERSION = "2.11.0"
SUITE_TOOLS = (
    "pytest==9.2.0",
    "pytest-asyncio",
    "pytest-xdist",
    "respx",
    "http-snapshot[httpx]==0.1.9",
    "inline-snapshot",
    "dirty-equals",
    "time-machine",
)


@dataclass(frozen=True)
class Environment:
    """One SDK in one virtual environment."""

    name: str
    requirements: tuple[str, ...]
    sdist: str | None = None
    """A source package to unpack beside it, for its tests."""

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def suite(self) -> Path:
        """The unpacked source package."""
        assert self.sdist is not None
        return self.folder / "sdist" / self.sdist.replace("==", "-")

    @property
    def stamp(self) -> str:
        return "\n".join((*self.requirements, self.sdist or ""))

    def is_whole(self) -> bool:
        mark = self.folder / "installed"
        return mark.exists() and mark.read_text() == self.stamp


SUITE = Environment(
    f"sdk-{SUITE_VERSION}", (f"anthropic[aiohttp]=={SUITE_VERSION}", *SUITE_TOOLS), f"anthropic=={SUITE_VERSION}"
)
LINES = (
    Environment("sdk-0.125.0", ("anthropic==0.125.0",)),
    Environment("sdk-1.17.0", ("anthropic==1.17.0",)),
    SUITE,
)
"""The last releases of the 0.x and 1.x lines, and the 2.x whose tests are run."""

S3_SERVER = Environment("s3-server", ("moto[s3]==5.2.5", "flask", "flask-cors"))
"""A server that speaks S3, for `tests/files/test_bucket.py`: thirty packages that nothing else here needs."""
ALL = (*LINES, S3_SERVER)


def install(environment: Environment) -> None:
    """Make one environment, unless it is whole.

    Raises: CalledProcessError, with the environment left unmarked.
    """
    if environment.is_whole():
        return
    venv.create(environment.folder, with_pip=True, clear=True)
    run_pip(environment, "install", *environment.requirements)
    if environment.sdist is not None:
        download(environment, environment.sdist)
    (environment.folder / "installed").write_text(environment.stamp)


def run_pip(environment: Environment, *arguments: str) -> None:
    """Run an environment's pip. An index can fail for a moment in a way that pip itself does not try again.

    Raises: CalledProcessError from the last attempt; those before it are said on standard error.
    """
    command = [environment.python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    for attempt in range(1, PIP_ATTEMPTS + 1):
        status = subprocess.run(command, check=attempt == PIP_ATTEMPTS).returncode
        if status == 0:
            return
        print(f"{environment.name}: pip {arguments[0]} ended with {status}, so once more", file=sys.stderr)
        time.sleep(PIP_PAUSE_S)


def download(environment: Environment, sdist: str) -> None:
    """Fetch and unpack the source package. Its own `src` goes: the installed package is what is tested."""
    target = environment.folder / "sdist"
    run_pip(environment, "download", "--no-deps", "--no-binary", sdist.partition("==")[0], "--dest", str(target), sdist)
    unpack(next(target.glob("*.tar.gz")), target)
    shutil.rmtree(environment.suite / "src")


def unpack(archive: Path, target: Path) -> None:
    """Write the plain files of a tar archive, and nothing outside the target.

    Not `extractall(filter="data")`: Python has that from 3.11.4 on, and Debian 12 has 3.11.2.

    Raises: ValueError for a name that leads out of the target.
    """
    with tarfile.open(archive) as opened:
        for member in opened:
            content = opened.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            path = (target / member.name).resolve()
            if not path.is_relative_to(target.resolve()):
                raise ValueError(f"{archive.name} has a file outside of it: {member.name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as out:
                shutil.copyfileobj(content, out)


def install_all() -> None:
    """Make what is missing, all at once: most of the time is waiting for the package index."""
    with ThreadPoolExecutor(len(ALL)) as pool:
        for _ in pool.map(install, ALL):
            pass
