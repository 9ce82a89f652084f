"""The bare pipeline: OpenVINO GenAI's continuous batching with nothing around it, for -m benchmarks.engine.

Reads rounds from standard input, one JSON line each: {"prompts": [[token ids], ...], "max_tokens": N}; writes what each
took. All requests of a round are added at once, and then there is only the loop around `step()`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import msgspec
import numpy as np
import openvino
import openvino_genai as genai

from renga.models.engine.ipc import EngineConfig
from renga.models.engine.pipeline import load_batching


def measure(pipeline: genai.ContinuousBatchingPipeline, launch: EngineConfig, asked: dict[str, Any]) -> dict[str, Any]:
    """Run one round: when each request got its first token, how many it got, and when all were done."""
    config = genai.GenerationConfig(max_new_tokens=asked["max_tokens"], logprobs=1)
    config.stop_token_ids = set(launch.stop_token_ids)
    if launch.stop_token_ids:
        config.eos_token_id = min(launch.stop_token_ids)
    began_s = time.perf_counter()
    handles = [
        pipeline.add_request(index, openvino.Tensor(np.array([prompt], dtype=np.int64)), config)
        for index, prompt in enumerate(asked["prompts"])
    ]
    first_s: dict[int, float] = {}
    tokens = 0
    while pipeline.has_non_finished_requests():
        pipeline.step()
        for index, handle in enumerate(handles):
            while handle.can_read():
                first_s.setdefault(index, time.perf_counter() - began_s)
                tokens += sum(len(output.generated_ids) for output in handle.read().values())
    return {"first_s": sorted(first_s.values()), "tokens": tokens, "wall_s": time.perf_counter() - began_s}


def main() -> None:
    launch = msgspec.json.decode(sys.argv[1], type=EngineConfig)
    pipeline = load_batching(launch)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(pipeline, launch, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
