"""Uploads: how fast, and how much memory they take.

    python -m benchmarks.economy.files [--megabytes 500]

A real server, one upload of that size over loopback, sent in pieces of 64 KiB; the server's memory is read all the
while. Then a text file of 10 MB that a request names, against the same text sent in the request. Prints a table.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from renga.testing.batch_audit import wavering_config, wavering_upstream
from renga.testing.servers.served import Served, ServedSettings, served

_PIECE = bytes(range(256)) * 256
_BOUNDARY = "benchmark"
_HEAD = (
    f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="large.bin"\r\n'
    "content-type: application/x-benchmark\r\n\r\n"
).encode()
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


def read_memory_bytes(server: Served) -> int:
    """Resident memory of the server's own process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class Watch:
    """The most memory that a server has had since."""

    def __init__(self, server: Served) -> None:
        self.most_bytes = read_memory_bytes(server)
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.most_bytes

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self.most_bytes = max(self.most_bytes, read_memory_bytes(self._server))


def upload(server: Served, content: Iterator[bytes], size_bytes: int, kind: str = "application/x-benchmark") -> str:
    """Send a file. Returns its id."""
    head = _HEAD.replace(b"application/x-benchmark", kind.encode())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("x-api-key", server.secret)
    connection.putheader("content-type", f"multipart/form-data; boundary={_BOUNDARY}")
    connection.putheader("content-length", str(len(head) + size_bytes + len(_TAIL)))
    connection.endheaders(head)
    for piece in content:
        connection.send(piece)
    connection.send(_TAIL)
    response = connection.getresponse()
    body = json.loads(response.read())
    assert response.status == 200, body
    connection.close()
    return body["id"]


def ask(server: Served, source: dict[str, str]) -> float:
    """Ask about a document. Returns how long the answer took."""
    document = {"type": "document", "source": source}
    body = {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": [document]}]}
    data = json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    began = time.perf_counter()
    connection.request("POST", "/v1/messages", data, {"x-api-key": server.secret})
    response = connection.getresponse()
    said = response.read()
    assert response.status == 200, said
    connection.close()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description="uploads: how fast, and how much memory they take")
    parser.add_argument("--megabytes", type=int, default=500)
    options = parser.parse_args()
    pieces = options.megabytes * 1_000_000 // len(_PIECE)
    size_bytes = pieces * len(_PIECE)
    with wavering_upstream(delay_s=0.0) as upstream, served(ServedSettings(wavering_config(upstream.url))) as server:
        upload(server, iter([b"warm"]), 4)
        before_bytes, watch, began = read_memory_bytes(server), Watch(server), time.perf_counter()
        upload(server, (_PIECE for _ in range(pieces)), size_bytes)
        took_s = time.perf_counter() - began
        grown_bytes = watch.end() - before_bytes
        text = "All work and no play makes a dull boy. " * 256_000
        file_id = upload(server, iter([text.encode()]), len(text), "text/plain")
        named_s = min(ask(server, {"type": "file", "file_id": file_id}) for _ in range(3))
        sent_s = min(ask(server, {"type": "text", "media_type": "text/plain", "data": text}) for _ in range(3))
    print("| what | |")
    print("|---|---:|")
    print(f"| upload of {size_bytes / 1e6:.0f} MB | {took_s:.2f} s, {size_bytes / 1e6 / took_s:.0f} MB/s |")
    print(f"| memory that it took beside | {grown_bytes / 1e6:.0f} MB |")
    print(f"| a request that names {len(text) / 1e6:.0f} MB of text | {named_s * 1000:.0f} ms |")
    print(f"| the same text in the request | {sent_s * 1000:.0f} ms |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
