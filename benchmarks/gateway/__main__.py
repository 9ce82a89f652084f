"""Renga in front of a zero-delay local upstream, beside no gateway at all, LiteLLM and vllm-router, in one run.

    python -m benchmarks.gateway [--quick] [--json runs/gateway.json]

Rounds alternate between the systems, so that a machine that drifts drifts for all. The measured server has a core of
its own; the load generator and the upstream share another and their CPU time is not counted. Latency is added latency:
the system's percentile less that of the direct path in the same round; reported is the median over the rounds.
The full run takes under six minutes, `--quick` under one, both without the first installation of the peers. For what
these figures are too coarse for, `benchmarks.gateway.inside` measures the application alone, beside another checkout.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.gateway.load import Load, Run, Sample, answered
from benchmarks.gateway.report import Figure, Measured, conclude, render, write_json
from benchmarks.gateway.systems import (
    BASELINE,
    SYSTEMS,
    Place,
    Server,
    System,
    install,
    other_checkout,
    render_request,
)

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "renga-benchmarks"
COLD_STARTS_LIMIT_S = 10


@dataclass(frozen=True)
class Scenario:
    """One kind of load."""

    name: str
    concurrency: int
    streamed: bool
    pace_each: bool = False


SCENARIOS = (
    Scenario("JSON c1", 1, streamed=False),
    Scenario("JSON c32", 32, streamed=False),
    Scenario("SSE c1", 1, streamed=True),
    Scenario("SSE c32", 32, streamed=True),
    Scenario("SSE each c32", 32, streamed=True, pace_each=True),
)


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    segment_s: float
    warm_s: float
    cold_starts: int
    text_deltas: int
    events_per_write: int


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure Renga as a gateway beside its peers")
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute")
    parser.add_argument("--json", type=Path, default=Path("runs/gateway.json"), help="where the figures go")
    parser.add_argument("--cache-dir", type=Path, default=DEFAULT_CACHE, help="where the peers are installed")
    parser.add_argument("--systems", default="direct,direct-chat,renga,litellm,vllm-router", help="which to measure")
    parser.add_argument("--beside", type=Path, default=None, help="another checkout of Renga, measured as one more")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--segment-s", type=float, default=None)
    parser.add_argument("--text-deltas", type=int, default=100, help="text deltas in a stream")
    parser.add_argument("--events-per-write", type=int, default=8, help="events that the upstream sends in one write")
    return parser.parse_args()


def choose_plan(options: argparse.Namespace) -> Plan:
    rounds, segment_s, cold_starts = (1, 0.8, 1) if options.quick else (3, 2.0, 3)
    return Plan(
        rounds=options.rounds or rounds,
        segment_s=options.segment_s or segment_s,
        warm_s=0.2 if options.quick else 0.3,
        cold_starts=cold_starts,
        text_deltas=options.text_deltas,
        events_per_write=options.events_per_write,
    )


def start_upstream(plan: Plan, core: int | None) -> tuple[subprocess.Popen[str], int]:
    """The upstream in a process of its own, and its port."""
    command = [sys.executable, "-m", "benchmarks.gateway.upstream", "--text-deltas", str(plan.text_deltas)]
    command += ["--events-per-write", str(plan.events_per_write)]
    command += [] if core is None else ["--core", str(core)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


class Bench:
    """One run: the started servers and what was measured so far."""

    def __init__(self, plan: Plan, place: Place, systems: tuple[System, ...]) -> None:
        self.plan = plan
        self.place = place
        self.systems = systems
        self.servers: dict[str, Server] = {}
        self.events: dict[str, int] = {}
        """Events of one stream, as they reached the client, by system."""
        self.measured: dict[str, Measured] = {system.name: Measured(system.name, system.work) for system in systems}

    async def start(self) -> None:
        """Start every server, cold and more than once where that is cheap, and leave each paused."""
        for system in self.systems:
            if system.command is not None:
                await self.start_server(system)
            await self.check_stream(system)
            if system.command is not None:
                self.servers[system.name].pause()

    async def start_server(self, system: System) -> None:
        cold_start_s = self.measured[system.name].cold_start_s
        while len(cold_start_s) < self.plan.cold_starts and sum(cold_start_s) < COLD_STARTS_LIMIT_S:
            if cold_start_s:
                self.servers[system.name].stop()
            server = self.servers[system.name] = Server(system, self.place)
            cold_start_s.append(await server.ready())

    async def check_stream(self, system: System) -> None:
        """A stream must arrive whole: the generator itself only looks for its end."""
        port = self.port(system)
        answer = await answered(port, render_request(system, port, streamed=True), 10.0)
        events = 0 if answer is None else answer.count(b"data: ") + answer.count(b"data:{")
        if events < self.plan.text_deltas:
            raise SystemExit(f"{system.name}: {events} events with {self.plan.text_deltas} deltas: {answer!r}")
        self.events[system.name] = events

    def port(self, system: System) -> int:
        return self.place.upstream_port if system.command is None else self.servers[system.name].port

    async def segment(self, system: System, scenario: Scenario) -> Sample:
        """One system under one load, alone on its core."""
        server = self.servers.get(system.name)
        port = self.port(system)
        request = render_request(system, port, streamed=scenario.streamed, pace_each=scenario.pace_each)
        load = Load(port, request, scenario.concurrency, self.plan.segment_s, self.plan.warm_s)
        if server is not None:
            server.resume()
        try:
            sample = await Run(load, server.cpu_seconds if server is not None else lambda: 0.0).measure()
            if server is not None:
                self.measured[system.name].resident_bytes = server.resident_bytes()
        finally:
            if server is not None:
                server.pause()
        if sample.errors or not sample.requests:
            first = sample.first_error or "no request was answered in time; is the machine busy with something else?"
            raise SystemExit(f"{system.name}, {scenario.name}: {sample.errors} errors, first: {first}")
        return sample

    async def round(self, scenario: Scenario, number: int) -> None:
        """Every system once; the direct paths first, since the others are compared with them, in turning order."""
        base: dict[str, Sample] = {}
        direct = [system for system in self.systems if system.command is None]
        served = [system for system in self.systems if system.command is not None]
        for system in (*direct, *served[:: -1 if number % 2 else 1]):
            events = self.events[system.name] if scenario.streamed else 0
            sample = await self.segment(system, scenario)
            if system.command is None:
                base[system.name] = sample
            baseline = base[BASELINE[system.path]]
            self.measured[system.name].figures.setdefault(scenario.name, []).append(
                Figure.from_samples(sample, baseline, events)
            )

    async def run(self) -> None:
        await self.start()
        for scenario in SCENARIOS:
            for number in range(self.plan.rounds):
                await self.round(scenario, number)

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()


def main() -> None:
    options = parse_arguments()
    plan = choose_plan(options)
    systems = tuple(system for system in SYSTEMS if system.name in options.systems.split(","))
    if options.beside is not None:
        systems += (other_checkout(options.beside),)
    for system in systems:
        install(system, options.cache_dir)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    server_core, load_core = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    began = time.perf_counter()
    upstream, upstream_port = start_upstream(plan, load_core)
    try:
        with tempfile.TemporaryDirectory(prefix="renga-gateway-") as folder:
            bench = Bench(plan, Place(Path(folder), options.cache_dir, upstream_port, server_core), systems)
            try:
                uvloop.run(bench.run())
            finally:
                bench.stop()
    finally:
        upstream.terminate()
        upstream.wait()
    measured = list(bench.measured.values())
    print(render(measured, plan.text_deltas, time.perf_counter() - began))
    print(conclude(measured))
    write_json(
        options.json, measured, {"rounds": plan.rounds, "segment_s": plan.segment_s, "text_deltas": plan.text_deltas}
    )


if __name__ == "__main__":
    main()
