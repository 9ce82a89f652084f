"""The commands of this folder, what each measures, and whether what it needs is here.

    .venv/bin/python -m benchmarks

Every command runs from the root of a clone after `scripts/install dev`. What one needs beyond that it checks before it
starts anything, and says in one line how to get it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.needs import need_data, need_postgresql, need_valkey


def _nothing() -> None:
    """For what needs nothing but Renga."""


def _faults() -> None:
    need_valkey()
    need_postgresql()


@dataclass(frozen=True)
class Command:
    """One benchmark."""

    module: str
    what: str
    needs: Callable[[], None] = _nothing


COMMANDS = (
    Command("benchmarks.gateway", "latency, throughput and memory beside LiteLLM and vllm-router (pip installs these)"),
    Command("benchmarks.gateway.inside", "CPU time of a request, beside another checkout's"),
    Command("benchmarks.gateway.start", "from the command to /health and to the first answer"),
    Command("benchmarks.gateway.leaving", "how long work goes on for clients that left"),
    Command("benchmarks.gateway.response_cycle", "what writes responses, beside uvicorn's"),
    Command("benchmarks.routing", "quality and cost of routers on recorded answers", lambda: need_data("routing")),
    Command(
        "benchmarks.routing.live", "shadow, calibrate, serve: a floor kept", lambda: need_data("banking77", "clinc150")
    ),
    Command("benchmarks.engine", "tokens a second through the API beside the bare pipeline"),
    Command("benchmarks.engine.replay", "real arrivals until saturation", lambda: need_data("azure2023")),
    Command(
        "benchmarks.engine.grammar_compilers",
        "JSON schemas as grammars: ours, xgrammar's, GenAI's (pip install xgrammar)",
    ),
    Command("benchmarks.economy.cache", "hit share of prompt caches", lambda: need_data("mooncake")),
    Command("benchmarks.economy.batches", "what a batch costs live requests, and how fast batches run"),
    Command("benchmarks.economy.files", "uploads: speed and memory"),
    Command("benchmarks.economy.limits", "limits in one process, and shared by eight servers", need_valkey),
    Command("benchmarks.faults", "kill -9 of everything in turn, under load", _faults),
    Command("benchmarks.faults.batches", "kill -9 of servers while batches run"),
)


def main() -> None:
    """Print the commands as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("python -m", "measures", "ready"):
        table.add_column(heading, overflow="fold")
    for command in COMMANDS:
        try:
            command.needs()
            ready = "yes"
        except SystemExit as missing:
            ready = str(missing)
        table.add_row(command.module, command.what, ready)
    Console(width=None if sys.stdout.isatty() else 220).print(table)


if __name__ == "__main__":
    main()
