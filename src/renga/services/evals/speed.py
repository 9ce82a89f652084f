"""How fast the server answers: time to the first token and to the last, read from the live stream.

Owns:   the three speed bars of issue 3. Prompts are fresh words every time, so that no cache helps.
"""

import http.client
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from renga.services.evals.suites.values import draw_word


@dataclass(frozen=True, slots=True)
class ReplyTiming:
    """The token counts and times of one streamed answer."""

    input_tokens: int
    output_tokens: int
    first_token_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One measured bar: the median of the runs."""

    name: str
    runs: int
    input_tokens: int
    output_tokens: int
    median_s: float
    worst_s: float
    bar_s: float


def stream_once(base_url: str, api_key: str, model: str, prompt: str, *, max_tokens: int) -> ReplyTiming:
    """Send one streaming request and time its events."""
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=120)
    body = {
        "model": model,
        "max_tokens": max_tokens,
        "temperature": 1.0,
        "stream": True,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"content-type": "application/json", "x-api-key": api_key, "anthropic-version": "2023-06-01"}
    began_s = time.perf_counter()
    connection.request("POST", "/v1/messages", json.dumps(body), headers)
    first_s, inputs, outputs = 0.0, 0, 0
    for event in _events(connection.getresponse()):
        if event["type"] == "error":
            raise RuntimeError(str(event["error"]))
        if event["type"] == "content_block_delta" and not first_s:
            first_s = time.perf_counter() - began_s
        if event["type"] == "message_start":
            inputs = event["message"]["usage"]["input_tokens"]
        if event["type"] == "message_delta":
            outputs = event["usage"]["output_tokens"]
            inputs = event["usage"].get("input_tokens") or inputs
    total_s = time.perf_counter() - began_s
    connection.close()
    return ReplyTiming(inputs, outputs, first_s or total_s, total_s)


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {response.read()[:300].decode(errors='replace')}")
    for line in response:
        if line.startswith(b"data: {"):
            yield json.loads(line[6:])


def _words(random: Random, count: int) -> str:
    return " ".join(draw_word(random, syllables=2) for _ in range(count))


def measure_speed(base_url: str, api_key: str, *, model: str = "hokku", runs: int = 5) -> list[SpeedRow]:
    """The first token of a short and of a long prompt, and a long reply, one request at a time."""
    random = Random()  # noqa: S311 - prompts that no cache has seen
    stream_once(base_url, api_key, model, "hello", max_tokens=4)
    words_per_token = 100 / stream_once(base_url, api_key, model, _words(random, 100), max_tokens=1).input_tokens
    rows: list[SpeedRow] = []
    for name, tokens, most, bar_s in (
        ("first token, 200-token prompt", 200, 4, 0.2),
        ("first token, 10,000-token prompt", 10_000, 4, 3.0),
        ("300-token reply", 200, 300, 2.0),
    ):
        timings = [
            stream_once(base_url, api_key, model, _words(random, int(tokens * words_per_token)), max_tokens=most)
            for _ in range(runs)
        ]
        if most == 300:
            times = [_scaled(timing, most) for timing in timings]
        else:
            times = [timing.first_token_s for timing in timings]
        outputs = int(statistics.median(timing.output_tokens for timing in timings))
        inputs = int(statistics.median(timing.input_tokens for timing in timings))
        rows.append(SpeedRow(name, runs, inputs, outputs, statistics.median(times), max(times), bar_s))
    return rows


def _scaled(timing: ReplyTiming, tokens: int) -> float:
    """Seconds for a reply of so many tokens; a reply that ended early has its rate carried on."""
    rate_s = (timing.total_s - timing.first_token_s) / max(1, timing.output_tokens - 1)
    return timing.first_token_s + rate_s * (tokens - 1)


def render_speed(rows: list[SpeedRow]) -> str:
    """The speed figures as a Markdown table."""
    lines = [
        "| speed | runs | prompt tokens | reply tokens | median s | worst s | bar s | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        met = "yes" if row.median_s <= row.bar_s else "**no**"
        lines.append(
            f"| {row.name} | {row.runs} | {row.input_tokens} | {row.output_tokens} | {row.median_s:.3f} "
            f"| {row.worst_s:.3f} | {row.bar_s:.1f} | {met} |"
        )
    return "\n".join(lines)
