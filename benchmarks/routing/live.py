"""Routing from end to end: a running server with hokku as haiku, an upstream that replays recorded labels as opus.

    python -m benchmarks.routing.live [--labels 800] [--requests 600] [--json FILE]

1. A floor is promised and not proven, so everything goes up; hokku answers the same requests in the background.
2. `renga route calibrate --from-shadow` makes a certificate of these labels, or says why not.
3. With the certificate in force other requests are sent. A third through, the upstream is killed; two thirds through,
   it comes back. A second policy (`quick`) keeps answers unchecked, so that all three paths are there.
4. What clients saw is held against the ledger and the report: every request has one row, and an answer or an error.

The requests are Banking77's and CLINC150's test parts with ten labels to choose from
(`renga.services.evals.suites.labels`): nothing was trained or calibrated on those of step 3. The upstream answers
what the data says, so it is always right.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import cast

from benchmarks.needs import need_data
from benchmarks.routing.live_summary import Seen, summarize
from renga.domain.ledger import LedgerRow
from renga.services.evals.cases import EvalCase
from renga.services.evals.suites.labels import draw_banking, draw_clinc
from renga.testing.servers.replayed_upstream import ReplayedUpstream
from renga.testing.servers.scripted_upstream import Pace, Reply
from renga.testing.servers.served import Served, ServedSettings, respawned, served

LATENCY_S = 0.15
"""Of the upstream, before it says anything."""
CONCURRENCY = 4
FLOOR = 3.0
QUICK_EVERY = 5
"""Every fifth request asks for `quick`."""
CONFIG = """\
[tiers]
haiku = ["local/hokku"]
opus = ["replayed/opus"]

[prices."replayed/opus"]
input_usd = 5.0
output_usd = 25.0

[providers.replayed]
kind = "anthropic"
base_url = "http://127.0.0.1:{port}"
max_retries = 0
connect_timeout_s = 2.0

[health]
cool_down_s = 0.5
cool_down_max_s = 2.0

[policies.quick]
streaming = "off"

[policies.auto]
checks = ["structural", "logprob"]
floor_points = {floor}
shadow_concurrent_requests = 200
shadow_usd_per_day = 100.0
"""


@dataclass
class Upstream:
    """The replayed upstream, in a process of its own so that it can be killed."""

    port: int
    labels: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.routing.live",
            "--upstream",
            str(self.port),
            "--data",
            str(self.labels),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Routing from end to end; see the module.")
    parser.add_argument("--labels", type=int, default=800)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.upstream is not None:
        asyncio.run(replay(arguments.upstream, arguments.data))
        return
    need_data("banking77", "clinc150")
    figures = run(arguments.labels, arguments.requests)
    print(json.dumps(figures, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    if figures["wrong"]:
        sys.exit("something was lost: " + "; ".join(cast("list[str]", figures["wrong"])))


async def replay(port: int, data: Path) -> None:
    """Answer every message with its recorded label, until killed."""
    labels = json.loads(data.read_text())

    def answer(model: str, prompt: str) -> str:
        return labels[prompt]

    class Slow(ReplayedUpstream):
        def reply_for(self, received: object) -> Reply:
            reply = super().reply_for(received)  # type: ignore[arg-type]
            return Reply(reply.status, reply.headers, (Pace(LATENCY_S), *reply.steps), reply.framing)

    async with Slow(answer, port) as upstream:
        print(upstream.url, flush=True)
        await asyncio.Event().wait()


def run(label_count: int, request_count: int) -> dict[str, object]:
    """All four steps."""
    cases = draw_cases(label_count + request_count)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    config = CONFIG.format(port=port, floor=FLOOR)
    with (
        served(ServedSettings(config + "shadow_share = 1.0\n")) as server,
        upstream_of(server, cases, port) as upstream,
    ):
        wait_engine(server)
        collected = send(server, cases[:label_count], lambda number: "auto")
        wait_background(server)
        certificate = server.folder / "certificate.json"
        made = calibrate(server, certificate)
        settings = (server.folder / "renga.toml").read_text().replace("shadow_share = 1.0\n", "shadow_share = 0.2\n")
        if certificate.exists():
            settings += f'certificate = "{certificate}"\n'
        else:
            settings = settings.replace(f"floor_points = {FLOOR}\n", "")
        (server.folder / "renga.toml").write_text(settings)
        with respawned(server) as again:
            wait_engine(again)
            outage = Outage(upstream, request_count)
            started = time.monotonic()
            seen = send(again, cases[label_count:], outage.model_of)
            seconds = time.monotonic() - started
            rows = wait_rows(again, len(collected) + request_count)
            report = read_report(again)
    return summarize(collected, seen, rows, report) | {
        "certificate": made,
        "seconds": round(seconds, 1),
        "outage_of_requests": outage.length,
    }


def draw_cases(count: int) -> list[EvalCase]:
    """Distinct messages of both sets, in an order that says nothing."""
    random = Random(20261121)
    drawn = [*draw_banking(random, count, count=10), *draw_clinc(random, count)]
    distinct = {case.text: case for case in drawn}
    cases = list(distinct.values())
    random.shuffle(cases)
    return cases[:count]


class Outage:
    """Kills the upstream a third through, and starts it again at two thirds; asked before every request."""

    def __init__(self, upstream: Upstream, count: int) -> None:
        self._upstream = upstream
        self._down, self._up = count // 3, 2 * count // 3
        self.length = self._up - self._down

    def model_of(self, number: int) -> str:
        if number == self._down:
            self._upstream.kill()
        elif number == self._up:
            self._upstream.start()
        return "quick" if number % QUICK_EVERY == 0 else "auto"


@contextmanager
def upstream_of(server: Served, cases: list[EvalCase], port: int) -> Generator[Upstream]:
    labels = server.folder / "labels.json"
    labels.write_text(json.dumps({case.text: case.expected for case in cases}))
    upstream = Upstream(port, labels)
    upstream.start()
    try:
        yield upstream
    finally:
        upstream.kill()


def send(server: Served, cases: list[EvalCase], model_of: Callable[[int], str]) -> list[Seen]:
    """Every case once, some at a time; every other one as a stream."""

    def one(pair: tuple[int, EvalCase]) -> Seen:
        number, case = pair
        return ask(server, case, model_of(number), stream=number % 2 == 1)

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return list(pool.map(one, enumerate(cases)))


def ask(server: Served, case: EvalCase, model: str, *, stream: bool) -> Seen:
    body = {
        "model": model,
        "max_tokens": case.max_tokens,
        "temperature": 0,
        "stream": stream,
        "system": case.system,
        "messages": [{"role": role, "content": text} for role, text in case.messages],
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    began = time.monotonic()
    try:
        headers = {"x-api-key": server.secret, "content-type": "application/json"}
        connection.request("POST", "/v1/messages", json.dumps(body), headers)
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    seconds = time.monotonic() - began
    text, whole = read_stream(data) if stream and response.status == 200 else read_body(data, response.status)
    header = response.headers.get
    return Seen(
        case, model, response.status, header("request-id", ""), header("renga-target", ""), header("renga-plan", ""),
        text, whole, seconds,
    )  # fmt: skip


def read_body(data: bytes, status: int) -> tuple[str, bool]:
    """An answer's text, or "" for an error, which has to be one JSON object with a type."""
    found = json.loads(data)
    if status != 200:
        return "", found["type"] == "error" and bool(found["error"]["type"])
    return "".join(block["text"] for block in found["content"] if block["type"] == "text"), bool(found["stop_reason"])


def read_stream(data: bytes) -> tuple[str, bool]:
    events = [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: ")]
    text = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    return text, events[-1]["type"] in ("message_stop", "error")


def calibrate(server: Served, certificate: Path) -> dict[str, object]:
    """A certificate from what shadow traffic has shown, or the reason why there is none."""
    command = [
        Path(sys.executable).with_name("renga"), "route", "calibrate", "--from-shadow", "--ranking", "mean_logprob",
        "--floor", str(FLOOR), "-o", certificate, "--json", "--config", server.folder / "renga.toml",
    ]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(done.stderr)
    made = json.loads(done.stdout)
    names = ("rows", "threshold", "bound_points", "loss_points", "kept_share", "saving_share", "counts")
    return made if "refused" in made else {name: made[name] for name in names}


def wait_engine(server: Served) -> None:
    """Until hokku is loaded: before that everything goes up, which is right and not what is shown here."""
    while not json.loads(server.get("/ready")[1])["providers"]["local"]["ready"]:
        time.sleep(0.1)


def wait_background(server: Served) -> None:
    """Until everything that was drawn has been answered a second time and written down."""
    deadline = time.monotonic() + 300
    wanted = (b'renga_shadow_running{source="shadow",subject="auto"} 0.0', b"renga_ledger_queue_rows 0.0")
    while not all(line in server.get("/metrics")[1] for line in wanted):
        if time.monotonic() > deadline:
            raise RuntimeError("the background does not end")
        time.sleep(0.2)
    time.sleep(1.0)


def wait_rows(server: Served, count: int) -> list[LedgerRow]:
    """The ledger's rows of clients, once they are all there."""
    deadline = time.monotonic() + 30
    with server.open_database() as database:
        while True:
            rows = [row for row in database.ledger.read_rows(limit=1_000_000) if row.surface == "messages"]
            if len(rows) >= count or time.monotonic() > deadline:
                return rows
            time.sleep(0.1)


def read_report(server: Served) -> dict[str, dict[str, object]]:
    """`renga route report`, by policy."""
    command = [Path(sys.executable).with_name("renga"), "route", "report", "--json", "--config"]
    done = subprocess.run([*map(str, command), str(server.folder / "renga.toml")], capture_output=True, check=True)
    return {each["policy"]["name"]: each for each in json.loads(done.stdout)["policies"]}


if __name__ == "__main__":
    main()
