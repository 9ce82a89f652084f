"""The zero-delay upstream of `benchmarks.gateway`: `renga.testing.servers.echo_upstream` on a core of its own, and
two paces.

Events leave eight to a write; a request whose text holds `PACE_EACH` gets one write per event and per turn of the event
loop instead, which is the most a gateway can be asked to do. `python -m benchmarks.gateway.upstream` prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import os

import msgspec
import uvloop

from renga.testing.servers.echo_upstream import EchoAnswers, EchoConnection, EchoSettings, build_answers

PACE_EACH = b"pace-each-event"
"""In the body of a request: write the events one by one."""
MODEL = "claude-haiku-5-5"


class PacedConnection(EchoConnection):
    """Chooses the pace by what the request says. The end of a body, and the mark with it, comes with the last read."""

    def __init__(self, grouped: EchoAnswers, single: EchoAnswers) -> None:
        super().__init__(grouped)
        self.grouped = grouped
        self.single = single

    def data_received(self, data: bytes) -> None:
        self.answers = self.single if PACE_EACH in data else self.grouped
        super().data_received(data)


async def serve(settings: EchoSettings) -> None:
    """Answer until the process is ended."""
    grouped = build_answers(settings)
    single = build_answers(msgspec.structs.replace(settings, events_per_write=1))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: PacedConnection(grouped, single), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="zero-delay upstream for benchmarks.gateway")
    parser.add_argument("--text-deltas", type=int, default=100)
    parser.add_argument("--events-per-write", type=int, default=8)
    parser.add_argument("--core", type=int, default=None, help="the core to run on")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    settings = EchoSettings(events=options.text_deltas, events_per_write=options.events_per_write, model=MODEL)
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
