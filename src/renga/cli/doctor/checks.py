"""`renga doctor`: the checks are a list, each one function, each ends in findings with what to do."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from renga.cli.doctor.finding import Finding, Level
from renga.cli.doctor.storage_checks import check_batches, check_files, check_limits, check_store
from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config

if TYPE_CHECKING:
    from renga.cli.shell.server_connection import ServerConnection
    from renga.config import Config, ProviderSettings

_CONNECT_TIMEOUT_S = 5.0


def doctor(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    online: Annotated[bool, typer.Option("--online", help="Also connect to the configured upstreams.")] = False,
    model: Annotated[bool, typer.Option(help="Load the local model and let it answer.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Check everything that can be checked here, and say what to do. Exit code 1 if something must be done."""
    findings: list[Finding] = []
    for finding in _examine(config, data_dir, online=online, model=model):
        findings.append(finding)
        if not as_json:
            _print_finding(finding)
    if as_json:
        from renga.cli.shell.table import print_json

        print_json(findings)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def _print_finding(finding: Finding) -> None:
    print(f"{finding.level:<5} {finding.subject}: {finding.detail}")
    if finding.remedy:
        print(f"      -> {finding.remedy}")
    sys.stdout.flush()


def _examine(config: ConfigOption, data_dir: DataOption, *, online: bool, model: bool) -> Iterator[Finding]:
    """All findings, in the order in which one thing needs another."""
    from renga.errors import RengaError

    yield from _check_python()
    try:
        settings = read_config(config, data_dir)
    except RengaError as error:
        yield Finding("fail", "settings", error.sentence())
        return
    yield from _check_settings(config)
    checks: list[Callable[[Config], Iterator[Finding]]] = [
        check_store,
        check_files,
        check_batches,
        check_limits,
        _check_port,
        _check_upstream_keys,
        _check_prices,
        _check_policies,
    ]
    if online:
        checks.append(_check_upstreams)
    if settings.engine.enabled:
        checks.append(_check_engine)
    has_store = True
    for check in checks:
        if not has_store and check in (check_files, check_batches, _check_policies):
            continue  # would say the same again
        for finding in _guard(check, settings):
            has_store = has_store and finding.subject != "store"
            yield finding
    if model:
        yield from _guard(_check_answers, settings)


def _guard(check: Callable[[Config], Iterator[Finding]], settings: Config) -> Iterator[Finding]:
    """Run a check; where the check itself breaks, report that as a finding."""
    from renga.errors import RengaError

    name = check.__name__.removeprefix("_").removeprefix("check_")
    try:
        yield from check(settings)
    except RengaError as error:
        detail = f"{error.path}: {error.message}" if error.path else error.message
        yield Finding("fail", name, detail, error.hint or "")
    except Exception as error:
        logging.getLogger(__name__).debug("a check failed", exc_info=True)
        detail = f"{type(error).__name__}: {error}"
        yield Finding("fail", name, detail, "a bug; `renga --debug doctor` logs it")


def _check_python() -> Iterator[Finding]:
    from renga import __version__

    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("ok", "renga", f"{__version__} on Python {version}, {os.uname().sysname} {os.uname().machine}")


def _check_settings(config: ConfigOption) -> Iterator[Finding]:
    from renga.config import find_config_file

    file = find_config_file(config, os.environ)
    yield Finding("ok", "settings", str(file) if file else "defaults and the environment; there is no renga.toml")


def _check_port(settings: Config) -> Iterator[Finding]:
    from renga.errors import ConfigError
    from renga.start import bind

    address = f"{settings.server.host}:{settings.server.port}"
    try:
        bind(settings.server).close()
    except ConfigError as error:
        if _is_renga(settings.server.host, settings.server.port):
            yield Finding("ok", "port", f"a Renga listens on {address} already")
            yield from _check_targets(settings)
        else:
            yield Finding("fail", "port", error.message, "stop what listens there, or set server.port")
        return
    yield Finding("ok", "port", f"{address} is free" if settings.server.port else "any free one")


def _is_renga(host: str, port: int) -> bool:
    return b'"version"' in _get(host, port, "/health")


def _check_targets(settings: Config) -> Iterator[Finding]:
    """Which targets the server that runs leaves alone for now."""
    import msgspec

    try:
        refused = msgspec.json.decode(_get(settings.server.host, settings.server.port, "/ready")).get("targets", {})
    except (msgspec.DecodeError, AttributeError):
        return
    for target, why in refused.items():
        yield Finding("warn", f"target {target}", f"left alone: {why}", "renga route report --url says how it fares")


def _get(host: str, port: int, path: str) -> bytes:
    """The body of an open route; b"" where nobody answers."""
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=_CONNECT_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def _check_upstream_keys(settings: Config) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        variable = provider.api_key_env
        if provider.api_key_file:
            yield _check_key_file(name, provider)
        elif variable and not os.environ.get(variable):
            yield Finding("fail", f"provider {name}", f"{variable} is not set", f"export {variable}=...")
        elif variable:
            yield Finding("ok", f"provider {name}", f"{provider.base_url}, key in {variable}")
        else:
            yield Finding("ok", f"provider {name}", f"{provider.base_url}, without a key")


def _check_key_file(name: str, provider: ProviderSettings) -> Finding:
    from renga.errors import ConfigError
    from renga.models.providers.transport.credentials import read_key

    file = Path(provider.api_key_file or "").expanduser()
    try:
        read_key(name, provider, {})
    except ConfigError as error:
        return Finding("fail", f"provider {name}", error.message, "put the key there, and nothing else")
    if file.stat().st_mode & 0o077:
        return Finding("warn", f"provider {name}", f"{file} can be read by others", f"chmod 600 {file}")
    return Finding("ok", f"provider {name}", f"{provider.base_url}, key in {file}")


def _check_prices(settings: Config) -> Iterator[Finding]:
    from renga.accounting.pricing.price_book import PriceBook, read_price_date
    from renga.cli.shell.database_access import now_us

    book = PriceBook(settings.providers, settings.prices)
    tiers = settings.tiers
    targets = {*(tiers.haiku or ()), *(tiers.sonnet or ()), *(tiers.opus or ())}
    unknown = sorted(target for target in targets if not target.endswith("/*") and book.find(target, now_us()) is None)
    for target in unknown:
        remedy = f'write [prices."{target}"] in renga.toml; zero is a price too'
        yield Finding("warn", "prices", f"{target} has no known price, so its cost will be unknown", remedy)
    if not unknown:
        yield Finding("ok", "prices", read_price_date())


def _check_policies(settings: Config) -> Iterator[Finding]:
    """What each policy may keep; a broken certificate, curve or head is refused with its file named."""
    from renga.cli.shell.database_access import open_configured_database
    from renga.routing.monitoring.comparison import certificate_digest, describe_state
    from renga.routing.policy.policies import Policies

    with open_configured_database(settings) as database:
        broken = {name.rpartition(":")[0]: name.rpartition(":")[2] for name in database.outcomes.read_broken()}
    for policy in Policies(settings.policies):
        subject = f"policy {policy.name}"
        digest = certificate_digest(policy)
        if digest and broken.get(f"shadow:{policy.name}") == digest:
            remedy = "renga route report; then renga route calibrate --from-shadow, for a new certificate"
            yield Finding("warn", subject, "its floor was found broken, so everything goes up", remedy)
        elif describe_state(policy) == "no_certificate":
            points = f"{policy.settings.floor_points:g}"
            remedy = f"renga route calibrate --floor {points}, and name the certificate in [policies.{policy.name}]"
            yield Finding("warn", subject, f"{points} points are promised and not proven: everything goes up", remedy)
        else:
            yield Finding("ok", subject, describe_state(policy))
    for name in settings.canaries:
        if f"canary:{name}" in broken:
            yield Finding("warn", f"canary {name}", "rolled back", f'renga route report; remove [canaries."{name}"]')


def _check_upstreams(settings: Config) -> Iterator[Finding]:
    """Only that somebody answers at the address: no request is sent, so nothing is spent."""
    import socket
    import ssl
    from urllib.parse import urlsplit

    for name, provider in settings.providers.items():
        parts = urlsplit(provider.base_url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            with socket.create_connection((host, port), _CONNECT_TIMEOUT_S) as plain:
                if parts.scheme == "https":
                    ssl.create_default_context().wrap_socket(plain, server_hostname=host).close()
        except OSError as error:
            yield Finding("fail", f"provider {name}", f"{host}:{port}: {error}", "check its address and the network")
        else:
            yield Finding("ok", f"provider {name}", f"{host}:{port} answers")


def _check_engine(_: Config) -> Iterator[Finding]:
    """In a process of its own: a library that crashes must not take the doctor along."""
    import subprocess

    program = "import openvino_genai; print(openvino_genai.__version__)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    if result.returncode == 0:
        yield Finding("ok", "engine", f"OpenVINO GenAI {result.stdout.strip()}")
        return
    reason = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    yield Finding("fail", "engine", reason, "pip install openvino-genai, or set engine.enabled = false")


def _check_answers(settings: Config) -> Iterator[Finding]:
    """Start the whole server on a free port, see which tiers work, and let the local model answer once."""
    from renga.cli.shell.server_connection import environ, open_connection, wait_ready
    from renga.errors import RengaError
    from renga.models.providers.local import name_local_models

    with open_connection(settings, None, environ()) as connection:
        try:
            wait_ready(connection, settings)
        except RengaError as error:
            yield Finding("fail", "server", error.message)
        for tier in ("haiku", "sonnet", "opus"):
            model = cast("dict[str, dict[str, object]]", connection.get_json(f"/v1/models/{tier}"))
            standing = model["renga"]
            targets = ", ".join(cast("list[str]", standing["targets"]))
            if standing["working"]:
                yield Finding("ok", f"tier {tier}", targets)
            else:
                level: Level = "fail" if tier == "haiku" else "warn"
                yield Finding(level, f"tier {tier}", "no target works", str(standing["detail"]))
        for name in name_local_models(settings):
            yield _ask_model(connection, name)


def _ask_model(connection: ServerConnection, name: str) -> Finding:
    """Let one local model answer, which loads it where it is loaded on first use."""
    import time

    import msgspec

    from renga.cli.shell.server_connection import read_error

    body = {"model": f"local/{name}", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
    began = time.monotonic()
    with connection.request("POST", "/v1/messages", msgspec.json.encode(body)) as response:
        data = response.read()
    if response.status != 200:
        return Finding("fail", f"model {name}", read_error(response.status, data).message)
    tokens = msgspec.json.decode(data)["usage"]["output_tokens"]
    return Finding("ok", f"model {name}", f"answered {tokens} tokens in {time.monotonic() - began:.2f} s")
