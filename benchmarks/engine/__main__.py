"""Time to first token and tokens a second through Renga's HTTP API, beside the bare pipeline, in one run.

    python -m benchmarks.engine [--quick] [--model hokku --model 135m] [--json runs/engine.json]

Two models: hokku, and one of 135 M parameters with random weights that the script makes and keeps; `--model smollm2`
takes a trained one of that size, which `scripts/data get smollm2-135m` obtains. Every cell is a
number of streams and a prompt length; its rounds alternate between the API and the bare pipeline, so that a machine
that drifts drifts for both, and the other side is idle meanwhile. Both sides get the same prompts, which the prefix
cache has never seen, and decode greedily, so that they make the same tokens. Reported are medians over the rounds.
`--quick` takes about three minutes; the full run takes half an hour on two cores, nearly all of it 10 k prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from benchmarks.engine import random_model
from benchmarks.needs import need_data
from renga.models.engine.loading.model_loader import Model, load_model
from renga.models.engine.loading.model_source import HOKKU_PACKAGE
from renga.models.engine.text.chat_template import Chat, TemplateMessage
from renga.services.evals.datasets.locations import find_path, require_path

TOKENIZER = "models/smollm2-tokenizer/tokenizer.json"
TRAINED = "models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_TOKENS = 49_152
PREFIX_TOKENS = 4096


class Cell(msgspec.Struct, frozen=True):
    """One kind of load."""

    streams: int
    prompt_tokens: int


class Round(msgspec.Struct, frozen=True):
    """What one round of a cell showed."""

    first_s: list[float]
    """Time to first token of each stream."""
    tokens: int
    wall_s: float

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.wall_s


class Plan(msgspec.Struct, frozen=True):
    """What to measure."""

    streams: tuple[int, ...] = (1, 4, 16)
    prompts: tuple[int, ...] = (128, 1024, 10240)
    rounds: int = 3
    max_tokens: int = 128
    cell_tokens_max: int = 1 << 20
    """Cells with more prompt tokens than this, all streams together, are left out."""


QUICK = Plan(streams=(1, 16), prompts=(128, 1024), rounds=2, max_tokens=64, cell_tokens_max=20000)


class Server:
    """`renga serve` with one model, and requests to it."""

    def __init__(self, model: str, folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "renga.cli",
            "serve",
            "--port",
            "0",
            "--data-dir",
            str(folder),
            "--model",
            model,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+).*?(sk-renga-\w+)", said, re.DOTALL)):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"renga serve ended:\n{said}")
            said += line
        self.port, self.key = int(found[1]), found[2]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    async def ask(self, text: str, max_tokens: int) -> tuple[float, int]:
        """Stream one answer: the time to its first token and the number of its tokens."""
        body = json.dumps(
            {
                "model": "haiku",
                "max_tokens": max_tokens,
                "temperature": 0,
                "stream": True,
                "messages": [{"role": "user", "content": text}],
            }
        ).encode()
        head = (
            f"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {self.key}\r\n"
            "anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        began_s = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        writer.write(head.encode() + body)
        answer = bytearray()
        first_s = 0.0
        while data := await reader.read(1 << 16):
            answer += data
            if not first_s and b"message_start" in answer:  # sent together with the first token
                first_s = time.perf_counter() - began_s
        writer.close()
        counts = re.findall(rb'"output_tokens":(\d+)', bytes(answer))
        if b"message_stop" not in answer or not counts:
            raise SystemExit(f"the server answered: {bytes(answer[:800]).decode(errors='replace')}")
        return first_s, int(counts[-1])

    async def measure(self, texts: list[str], max_tokens: int) -> Round:
        """Ask all at once."""
        began_s = time.perf_counter()
        answers = await asyncio.gather(*(self.ask(text, max_tokens) for text in texts))
        wall_s = time.perf_counter() - began_s
        return Round(sorted(first_s for first_s, _ in answers), sum(tokens for _, tokens in answers), wall_s)


class Bare:
    """The bare pipeline in a process of its own."""

    def __init__(self, model: Model) -> None:
        launch = msgspec.json.encode(model.engine_config()).decode()
        command = [sys.executable, "-m", "benchmarks.engine.bare", launch]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def measure(self, prompts: list[list[int]], max_tokens: int) -> Round:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"prompts": prompts, "max_tokens": max_tokens}) + "\n")
        self.process.stdin.flush()
        return msgspec.convert(self._read(), Round)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def write_text(model: Model, tokens: int, chance: random.Random) -> str:
    """Words by chance that make a prompt of about so many tokens; no two texts begin alike."""
    words = ["time", "river", "about", "seven", "light", "house", "never", "green", "other", "small", "water", "again"]
    text = " ".join(chance.choice(words) for _ in range(tokens + 8))
    token_ids = model.vocabulary.encode(text, parse_special=False)[: max(8, tokens - 8)]
    return model.vocabulary.decode(token_ids).strip()


def render(model: Model, text: str) -> list[int]:
    """The prompt as the API writes it."""
    return model.template.render(Chat((TemplateMessage("user", text),))).token_ids


def measure_cell(server: Server, bare: Bare, model: Model, plan: Plan, cell: Cell) -> dict[str, Any]:
    """Alternate between the two sides and take the medians."""
    chance = random.Random(f"{cell.streams} {cell.prompt_tokens}")
    through: list[Round] = []
    beside: list[Round] = []
    for _ in range(plan.rounds):
        texts = [write_text(model, cell.prompt_tokens, chance) for _ in range(cell.streams)]
        through.append(asyncio.run(server.measure(texts, plan.max_tokens)))
        beside.append(bare.measure([render(model, text) for text in texts], plan.max_tokens))
    figures: dict[str, Any] = {"streams": cell.streams, "prompt_tokens": cell.prompt_tokens}
    for name, rounds in (("api", through), ("bare", beside)):
        figures[f"{name}_first_token_s"] = statistics.median(statistics.median(one.first_s) for one in rounds)
        figures[f"{name}_tokens_per_s"] = statistics.median(one.tokens_per_s for one in rounds)
    pairs = zip(through, beside, strict=True)
    figures["throughput_ratio"] = statistics.median(one.tokens_per_s / other.tokens_per_s for one, other in pairs)
    figures["tokens_agree"] = [one.tokens for one in through] == [other.tokens for other in beside]
    return figures


def measure_prefix(server: Server, model: Model, plan: Plan) -> dict[str, Any]:
    """How much sooner an answer starts when its first 4 k tokens were met before."""
    tokens = min(PREFIX_TOKENS, model.engine_config().context_tokens - 256)
    chance = random.Random("prefix")
    ratios: list[float] = []
    cold_s: list[float] = []
    warm_s: list[float] = []
    for _ in range(plan.rounds):
        prefix = write_text(model, tokens, chance)
        cold_s.append(asyncio.run(server.ask(f"{prefix} Now name one.", 4))[0])
        warm_s.append(asyncio.run(server.ask(f"{prefix} And what else?", 4))[0])
        ratios.append(cold_s[-1] / warm_s[-1])
    return {
        "prefix_tokens": tokens,
        "cold_first_token_s": statistics.median(cold_s),
        "warm_first_token_s": statistics.median(warm_s),
        "times_sooner": statistics.median(ratios),
    }


def find_model(name: str) -> str:
    """What `renga serve --model` takes; the random model is made when it is first asked for."""
    if name == "smollm2":
        need_data("smollm2-135m")
        return str(require_path(TRAINED))
    if name != "135m":
        return name
    tokenizer = find_path(TOKENIZER)
    kind = "smollm2" if tokenizer else "hokku"
    path = platformdirs.user_cache_path("renga-benchmarks") / f"random-135m-{kind}-tokens.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        random_model.write_gguf(path, random_model.Shape(), read_words(tokenizer))
    return str(path)


def read_words(tokenizer: Path | None) -> random_model.Words:
    """SmolLM2's tokens; where that data set is not here, hokku's, filled up to as many."""
    if tokenizer is not None:
        return random_model.read_words(tokenizer, end="<|im_end|>", chat_template=random_model.CHATML)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(HOKKU_PACKAGE) as package:
        own = Path(package.extract("tokenizer.json", folder))
        words = random_model.read_words(own, end="<|end|>", chat_template=random_model.CHATML)
    return random_model.extend_words(words, specials=("<|im_start|>", "<|im_end|>"), count=SMOLLM2_TOKENS)


def measure_model(name: str, plan: Plan) -> dict[str, Any]:
    """Every cell of one model."""
    setting = find_model(name)
    model = load_model(setting)
    room_tokens = model.engine_config().context_tokens - plan.max_tokens - 64
    cells = [Cell(streams, prompt) for prompt in plan.prompts for streams in plan.streams]
    with tempfile.TemporaryDirectory() as folder:
        server, bare = Server(setting, Path(folder)), Bare(model)
        try:
            asyncio.run(server.ask("Hello!", 8))
            rows: list[dict[str, Any]] = []
            for cell in cells:
                if cell.prompt_tokens > room_tokens or cell.streams * cell.prompt_tokens > plan.cell_tokens_max:
                    continue
                rows.append(measure_cell(server, bare, model, plan, cell))
                print_row(name, rows[-1])
            prefix = measure_prefix(server, model, plan)
        finally:
            server.stop()
            bare.stop()
    print(
        f"{name}: {prefix['prefix_tokens']} tokens met again: first token after {prefix['warm_first_token_s']:.3f} s "
        f"instead of {prefix['cold_first_token_s']:.3f} s, {prefix['times_sooner']:.1f} times sooner\n"
    )
    return {"model": name, "cells": rows, "prefix": prefix, "context_tokens": model.engine_config().context_tokens}


def print_row(name: str, row: dict[str, Any]) -> None:
    """One line of the table."""
    print(
        f"| {name} | {row['streams']} | {row['prompt_tokens']} | {row['api_first_token_s']:.3f} | "
        f"{row['bare_first_token_s']:.3f} | {row['api_tokens_per_s']:.1f} | {row['bare_tokens_per_s']:.1f} | "
        f"{row['throughput_ratio']:.3f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--model",
        action="append",
        help="hokku, 135m (random), smollm2 (a data set), or what `renga serve --model` takes",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = msgspec.structs.replace(plan, rounds=arguments.rounds)
    print("| model | streams | prompt tokens | API first token s | bare s | API tokens/s | bare tokens/s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    results = [measure_model(name, plan) for name in arguments.model or ["hokku", "135m"]]
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"plan": msgspec.to_builtins(plan), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
