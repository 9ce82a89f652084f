"""The systems that `benchmarks.gateway` measures: how each is installed, started, asked and stopped.

Every server runs on one core that it shares with no one; servers whose turn it is not are stopped (SIGSTOP), so that
their background work costs the others nothing. The peers live in environments of their own under a cache folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.gateway.load import answered
from benchmarks.gateway.upstream import MODEL, PACE_EACH
from renga.testing.servers.served import write_known_key

LITELLM = "litellm[proxy]==1.104.0"
VLLM_ROUTER = "vllm-router==0.1.17"
SECRET = "sk-benchmark-0123456789abcdef"
MESSAGES = "/v1/messages"
CHAT = "/v1/chat/completions"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SYSTEM_TEXT = "You are a support agent. Answer from the handbook, in two sentences at most, and name its section. "
USER_TEXT = "A customer asks whether an opened box may be sent back after thirty days, and who pays for the parcel. "


@dataclass(frozen=True)
class Place:
    """Where a run happens."""

    folder: Path
    """Scratch: configuration, data, logs. Removed afterwards."""
    cache_dir: Path
    upstream_port: int
    core: int | None
    """The core the measured servers run on."""


@dataclass(frozen=True)
class System:
    """One way to reach the upstream."""

    name: str
    path: str
    work: str
    """What it does for a request, so that a reader can compare."""
    package: str | None = None
    command: Callable[[Place, int], list[str]] | None = None
    environment: Callable[[Place], dict[str, str]] = lambda _: {}
    start_limit_s: float = 60.0


def render_request(system: System, port: int, *, streamed: bool, pace_each: bool = False) -> bytes:
    """The bytes of a request: about 1 kB, the same words in both shapes."""
    user = USER_TEXT * 4 + (PACE_EACH.decode() if pace_each else "")
    body: dict[str, object] = {"model": MODEL, "max_tokens": 256}
    if system.path == MESSAGES:
        body |= {"system": SYSTEM_TEXT * 3, "messages": [{"role": "user", "content": user}]}
    else:
        body |= {"messages": [{"role": "system", "content": SYSTEM_TEXT * 3}, {"role": "user", "content": user}]}
    body |= {"stream": True} if streamed else {}
    data = json.dumps(body).encode()
    head = (
        f"POST {system.path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {SECRET}\r\nx-api-key: {SECRET}\r\nanthropic-version: 2023-06-01\r\n"
        f"accept: */*\r\nuser-agent: gateway-benchmark\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def renga_command(place: Place, port: int, kind: str = "anthropic", whose: str = "renga") -> list[str]:
    """`renga serve` with one upstream and no engine; its key is put into the store before its first start."""
    data_dir = place.folder / f"{whose}-{kind}"
    if not data_dir.exists():
        data_dir.mkdir()
        write_known_key(data_dir, SECRET)
    config = data_dir / "renga.toml"
    config.write_text(
        f'[server]\nport = {port}\n[engine]\nenabled = false\n[store]\ndata_dir = "{data_dir}"\n'
        f'[providers.upstream]\nkind = "{kind}"\nbase_url = "http://127.0.0.1:{place.upstream_port}"\n'
        f'[tiers]\nhaiku = ["upstream/{MODEL}"]\n'
    )
    return [str(Path(sys.executable).with_name("renga")), "serve", "--config", str(config)]


def litellm_command(place: Place, port: int) -> list[str]:
    """LiteLLM's proxy with a master key, no database and one worker."""
    config = place.folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: anthropic/{MODEL}\n"
        f"      api_base: http://127.0.0.1:{place.upstream_port}\n      api_key: {SECRET}\n"
        f"litellm_settings:\n  telemetry: false\n  num_retries: 0\ngeneral_settings:\n  master_key: {SECRET}\n"
    )
    program = str(peer_folder(place.cache_dir, LITELLM) / "bin" / "litellm")
    return [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


def litellm_environment(_: Place) -> dict[str, str]:
    """Nothing from the network, and the log level its documents advise for production."""
    return {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_TELEMETRY": "False",
        "NO_DOCS": "True",
    }


def vllm_router_command(place: Place, port: int) -> list[str]:
    """vllm-router with one worker address; it forwards bytes and knows no Messages API."""
    program = str(peer_folder(place.cache_dir, VLLM_ROUTER) / "bin" / "vllm-router")
    worker = f"http://127.0.0.1:{place.upstream_port}"
    options = ["--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(free_port())]
    return [program, "--host", "127.0.0.1", "--port", str(port), "--worker-urls", worker, *options]


SYSTEMS = (
    System("direct", MESSAGES, "nothing between client and upstream"),
    System("direct-chat", CHAT, "nothing between client and upstream, chat completions shape"),
    System(
        "renga",
        MESSAGES,
        "Messages API: every request decoded and checked, key, lease, price, ledger row; every event accounted for",
        command=renga_command,
    ),
    System(
        "renga-translating",
        MESSAGES,
        "the same work, and every request and event translated to and from chat completions",
        command=partial(renga_command, kind="openai_compatible"),
    ),
    System(
        "litellm",
        MESSAGES,
        "Messages API to an Anthropic-type upstream, master key, no database, one worker",
        package=LITELLM,
        command=litellm_command,
        environment=litellm_environment,
        start_limit_s=120.0,
    ),
    System(
        "vllm-router",
        CHAT,
        "chat completions forwarded as bytes (it has no Messages API): no key, no limits, no ledger",
        package=VLLM_ROUTER,
        command=vllm_router_command,
    ),
)


def other_checkout(checkout: Path) -> System:
    """The Renga of another checkout, under the same Python with the same packages, doing the same work."""
    return System(
        "renga-beside",
        MESSAGES,
        f"the same as renga, by the code in {checkout.name}",
        command=partial(renga_command, whose="beside"),
        environment=lambda _: {"PYTHONPATH": str(checkout.resolve() / "src")},
    )


BASELINE = {MESSAGES: "direct", CHAT: "direct-chat"}


def peer_folder(cache_dir: Path, package: str) -> Path:
    """Where a peer's environment is: one folder per pinned version."""
    name, _, version = package.partition("==")
    return cache_dir / f"{name.partition('[')[0]}-{version}"


def install(system: System, cache_dir: Path) -> None:
    """Make a peer's environment, unless it is there and whole."""
    if system.package is None:
        return
    folder = peer_folder(cache_dir, system.package)
    if (folder / "installed").exists():
        return
    print(f"installing {system.package} into {folder}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=True)
    done = subprocess.run([folder / "bin" / "pip", "install", "--quiet", system.package], check=False)
    if done.returncode:
        raise SystemExit(f"pip could not install {system.package}; `--systems direct,direct-chat,renga` measures alone")
    (folder / "installed").touch()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def on_core(core: int | None) -> Generator[None]:
    """Run what is started inside on one core: a child inherits its parent's affinity."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Server:
    """A started system: its processes, their CPU time and memory."""

    def __init__(self, system: System, place: Place) -> None:
        assert system.command is not None
        self.system = system
        self.port = free_port()
        self.log = place.folder / f"{system.name}.log"
        command = system.command(place, self.port)
        ambient = {name: value for name, value in os.environ.items() if not name.startswith(("RENGA_", "ANTHROPIC_"))}
        variables = {**ambient, **system.environment(place), "HOME": str(place.folder)}
        with self.log.open("ab") as log, on_core(place.core):
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                command,
                cwd=place.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def ready(self) -> float:
        """Seconds from the start of the process to the first whole 200 of a real request."""
        request = render_request(self.system, self.port, streamed=False)
        while time.perf_counter() - self.started < self.system.start_limit_s:
            if self.process.poll() is not None:
                break
            answer = await answered(self.port, request, 5.0)
            if answer is not None and answer[9:12] == b"200":
                return time.perf_counter() - self.started
            await asyncio.sleep(0.005)
        raise SystemExit(f"{self.system.name} did not answer 200; its log ends:\n{self.log.read_text()[-3000:]}")

    def pids(self) -> list[int]:
        """The process and everything below it."""
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found.extend(int(child) for child in children.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all its processes. Source: proc_pid_stat(5), fields 14 and 15."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def resident_bytes(self) -> int:
        """Resident memory of all its processes. Source: proc_pid_statm(5), field 2."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES for pid in self.pids())

    def pause(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ask, then insist. Works on a paused server too."""
        if self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        self.resume()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
