"""How long a start takes: from the command to `/health`, and to the first answer of hokku.

Run: `python -m benchmarks.gateway.start [--runs 5]`. The first start of all unpacks the model and is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from renga.testing.servers.served import write_known_key

SECRET = "sk-renga-start-benchmark"
BODY = json.dumps({"model": "haiku", "max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}]}).encode()
POLL_S = 0.005
LIMIT_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def fetch(url: str, body: bytes | None = None) -> None:
    request = urllib.request.Request(url, data=body, headers={"x-api-key": SECRET})
    with urllib.request.urlopen(request, timeout=LIMIT_S) as response:
        response.read()


def time_start(folder: Path) -> tuple[float, float]:
    """Seconds from the command to the first `/health` and to the first answer."""
    port = free_port()
    renga = Path(sys.executable).with_name("renga")
    began = time.perf_counter()
    server = subprocess.Popen(
        [renga, "serve", "--port", str(port), "--data-dir", str(folder)], stdout=subprocess.DEVNULL, env=os.environ
    )
    try:
        while True:
            try:
                fetch(f"http://127.0.0.1:{port}/health")
                break
            except OSError:
                if server.poll() is not None or time.perf_counter() - began > LIMIT_S:
                    raise
                time.sleep(POLL_S)
        healthy_s = time.perf_counter() - began
        fetch(f"http://127.0.0.1:{port}/v1/messages", BODY)
        return healthy_s, time.perf_counter() - began
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs: int = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_known_key(folder, SECRET)
        time_start(folder)
        times = [time_start(folder) for _ in range(runs)]
    load = os.getloadavg()[0]
    print("| from the command to | median s | best s | worst s |\n|---|---|---|---|")
    for name, column in (("/health", 0), ("first answer", 1)):
        values = [row[column] for row in times]
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")
    print(f"\n{runs} starts; load average {load:.1f}")


if __name__ == "__main__":
    main()
