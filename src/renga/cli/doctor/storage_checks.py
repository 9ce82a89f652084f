"""What `renga doctor` looks at where things are kept: database, ledger, disk, files, batches, shared limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from renga.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from renga.config import Config

_FREE_BYTES_MIN = 200 * 1024 * 1024
_SLOW_S = 0.05
"""An answer of the shared limits that takes longer is felt by every request."""


def check_store(settings: Config) -> Iterator[Finding]:
    """The database, the disk, rows that wait for it, and keys."""
    from renga.cli.shell.database_access import open_configured_database
    from renga.config import data_dir

    with open_configured_database(settings) as database:
        kind = "PostgreSQL" if settings.store.url.startswith("postgresql") else "SQLite"
        yield Finding("ok", "database", f"{kind} answers; version {database.version()}, up to date")
        rows = database.keys.read()
    folder = data_dir(settings.store)
    file = folder / "renga.db"
    if not settings.store.url and file.stat().st_mode & 0o077:
        yield Finding("warn", "database", f"{file} can be read by others", f"chmod 600 {file}")
    yield from _check_disk(folder)
    for spool in sorted(folder.glob("ledger.spool*")):
        yield Finding("warn", "ledger", f"rows wait in {spool}", "start the server: it writes them to the database")
    for segment in sorted(folder.glob("ledger.journal.*")):
        if _is_left(segment):
            detail = f"{segment} holds rows of a server that was killed"
            yield Finding("warn", "ledger", detail, "start the server: it writes them to the database")
    working = sum(row.revoked_us is None for row in rows)
    if working:
        yield Finding("ok", "keys", f"{working} working")
    elif rows:
        yield Finding("fail", "keys", "all are revoked, so nobody can call", "renga keys create NAME")
    else:
        yield Finding("ok", "keys", "none yet; the first `renga serve` makes one")


def _check_disk(folder: Path) -> Iterator[Finding]:
    import os
    import shutil

    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / 1e9:,.1f} GB free under {folder}"
    if not os.access(there, os.W_OK):
        yield Finding("fail", "disk", f"{there} cannot be written to", "change its owner, or move store.data_dir")
    elif free < _FREE_BYTES_MIN:
        yield Finding("warn", "disk", detail, "make room, or move store.data_dir")
    else:
        yield Finding("ok", "disk", detail)


def _is_left(segment: Path) -> bool:
    """Whether rows wait in a segment of the journal whose server is gone: a living one holds a lock on it."""
    import fcntl

    try:
        with segment.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return file.read(1) not in (b"", b"\0")
    except OSError:
        return False


def check_files(settings: Config) -> Iterator[Finding]:
    """Where uploaded files are, and how much of them there is."""
    if not settings.files.enabled:
        yield Finding("ok", "files", "turned off")
        return
    kept = _count_files(settings)
    if settings.files.bucket:
        from renga.files.object_store import open_bucket

        try:
            open_bucket(settings.files, retries=0).has(bytes(32))
        except OSError as error:
            yield Finding("fail", "files", str(error), "check files.bucket, its keys and who may use it")
        else:
            yield Finding("ok", "files", f"{kept} in {settings.files.bucket}")
    elif settings.store.url.startswith("postgresql"):
        detail = f"{kept}; the database may be shared, and uploaded files are on this machine's disk only"
        yield Finding("warn", "files", detail, "set files.bucket where there is more than one server")
    else:
        yield Finding("ok", "files", f"{kept} in the data folder")


def _count_files(settings: Config) -> str:
    from renga.cli.shell.database_access import now_us, open_configured_database

    with open_configured_database(settings) as database:
        count = database.files.count_files(now_us())
    return f"{count.files:,} with {count.total_bytes / 1e6:,.1f} MB"


def check_batches(settings: Config) -> Iterator[Finding]:
    """What of batches is still to be done, and whether somebody does it."""
    from renga.cli.shell.database_access import now_us, open_configured_database, render_time
    from renga.services.durable.heartbeat import DEAD_AFTER_S

    with open_configured_database(settings) as database:
        queue = database.batches.count_open()
        seen = database.workers.read_heartbeats().values()
    if not queue.batches:
        yield Finding("ok", "batches", "none open")
        return
    first = render_time(queue.expires_us)
    detail = f"{queue.batches:,} open, {queue.requests:,} requests to go; the first expires {first}"
    workers = sum(now_us() - seen_us < DEAD_AFTER_S * 1e6 for seen_us in seen)
    if workers:
        yield Finding("ok", "batches", f"{detail}; {workers} server{'' if workers == 1 else 's'} at work")
    else:
        remedy = "renga serve" if settings.batches.run else "start one with batches.run = true; this one only takes in"
        yield Finding("warn", "batches", f"{detail}; no server runs them", remedy)


def check_limits(settings: Config) -> Iterator[Finding]:
    """Who counts what keys may do, and whether it answers."""
    import asyncio

    from renga.accounting.limits.shared.valkey_connection import ValkeyAway, ValkeyRefused, parse_address

    if not settings.limits.shared_url:
        yield Finding("ok", "limits", "each server counts for itself")
        return
    name = parse_address(settings.limits.shared_url).name
    refused = settings.limits.when_away == "closed"
    meanwhile = "requests with limits are refused meanwhile" if refused else "servers keep to their share meanwhile"
    try:
        took_s, policy = asyncio.run(_ask_shared(settings))
    except ValkeyAway as error:
        yield Finding("fail", "limits", f"{name}: {error}; {meanwhile}", "check limits.shared_url and the network")
    except ValkeyRefused as error:
        yield Finding("fail", "limits", f"{name} refuses: {error}", "check the password in limits.shared_url")
    else:
        detail = f"shared through {name}, which answers in {1000 * took_s:.1f} ms"
        if policy not in ("", "noeviction"):
            yield Finding("warn", "limits", f"{detail}; full, it forgets ({policy})", "set maxmemory-policy noeviction")
        elif took_s > _SLOW_S:
            yield Finding("warn", "limits", detail, "every request with limits waits for it: put it nearer")
        else:
            yield Finding("ok", "limits", detail)


async def _ask_shared(settings: Config) -> tuple[float, str]:
    """How long an answer takes, and what it does when its memory is full.

    Raises: ValkeyAway, ValkeyRefused.
    """
    import time

    from renga.accounting.limits.shared.valkey_connection import connect, parse_address

    connection = await connect(parse_address(settings.limits.shared_url), (), settings.limits.shared_timeout_s)
    try:
        began = time.perf_counter()
        told = await connection.call(b"INFO", b"memory")
        took_s = time.perf_counter() - began
    finally:
        connection.close("seen")
    lines = told.decode().splitlines() if isinstance(told, bytes) else []
    policies = [line.partition(":")[2] for line in lines if line.startswith("maxmemory_policy:")]
    return took_s, policies[0] if policies else ""
