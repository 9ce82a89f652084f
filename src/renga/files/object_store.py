"""Bytes in a bucket of an S3-compatible service.

Owns: the only import of `obstore`, which is optional (`scripts/install s3`) and loaded when a bucket is configured.
Must never know: who owns the bytes.
Invariants: an object is there whole or not at all, as the service promises; a key of the service is never in an error.

Source: obstore 0.12, S3Store; AWS S3 API, "Amazon S3 data consistency model".
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from renga.config.files import FileSettings
from renga.errors import ConfigError
from renga.files.blobs import CHUNK_BYTES

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_PART_BYTES = 16 * 1024 * 1024
"""Size of a part of a large object; at most `_PARTS_AT_ONCE` of them are in memory."""
_PARTS_AT_ONCE = 2


class BucketBlobs:
    """A bucket, or a folder in it: `ab/cdef...`, by the hash in hexadecimal."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    def place(self, sha256: bytes, incoming: Path) -> None:
        import obstore

        with _failures():
            obstore.put(self._store, _key(sha256), incoming, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def has(self, sha256: bytes) -> bool:
        import obstore

        try:
            with _failures():
                obstore.head(self._store, _key(sha256))
        except FileNotFoundError:
            return False
        return True

    def read(self, sha256: bytes) -> Iterator[bytes]:
        import obstore

        with _failures():
            for chunk in obstore.get(self._store, _key(sha256)).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def remove(self, sha256: bytes) -> None:
        import obstore

        with _failures():
            obstore.delete(self._store, _key(sha256))

    def older_than(self, time_s: float) -> Iterator[bytes]:
        import obstore

        with _failures():
            for page in obstore.list(self._store):
                for entry in page:
                    placed: datetime = entry["last_modified"]
                    sha256 = _hash_of(entry["path"])
                    if sha256 is not None and placed.timestamp() < time_s:
                        yield sha256


def open_bucket(settings: FileSettings, environ: Mapping[str, str] = os.environ, *, retries: int = 4) -> BucketBlobs:
    """The bucket of the settings. Connects to nothing yet.

    Raises: ConfigError if it is no bucket, its keys are not in the environment, or `obstore` is not installed.
    """
    url = urlsplit(settings.bucket)
    if url.scheme != "s3" or not url.netloc:
        raise ConfigError("not a bucket", path="files.bucket", hint='as "s3://my-bucket/renga"')
    access_key, secret_key = environ.get(settings.s3_access_key_env), environ.get(settings.s3_secret_key_env)
    if bool(access_key) != bool(secret_key):
        missing = settings.s3_secret_key_env if access_key else settings.s3_access_key_env
        raise ConfigError(f"the variable {missing} is empty", path="files.bucket", hint="both keys, or none of them")
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise ConfigError("obstore is not installed", path="files.bucket", hint="scripts/install s3") from error
    endpoint = settings.s3_endpoint.rstrip("/")
    config: S3Config = {"region": settings.s3_region, "virtual_hosted_style_request": not endpoint}
    if endpoint:
        config["endpoint"] = endpoint
    if access_key and secret_key:
        # Without keys the service's own ways hold: the role of the machine, or of the pod.
        config["access_key_id"], config["secret_access_key"] = access_key, secret_key
    store = S3Store(
        url.netloc,
        prefix=url.path.strip("/") or None,
        config=config,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": "60s"},
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=30)},
    )
    return BucketBlobs(store)


@contextmanager
def _failures() -> Generator[None]:
    """The library's errors as OSError; their own texts name URLs and may be long."""
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        raise OSError(f"the bucket failed: {type(error).__name__}: {str(error).partition(chr(10))[0][:300]}") from None


def _key(sha256: bytes) -> str:
    name = sha256.hex()
    return f"{name[:2]}/{name[2:]}"


def _hash_of(key: str) -> bytes | None:
    """The hash that an object is named by; None for objects that are not ours."""
    try:
        sha256 = bytes.fromhex(key.replace("/", ""))
    except ValueError:
        return None
    return sha256 if len(sha256) == 32 and _key(sha256) == key else None
