"""OpenVINO GenAI's continuous batching, behind the few words that the engine needs.

Owns: loading it, its settings, and what is said in its types.
Must never know: who goes first, sockets.
Invariant: no GenAI type leaves this file, so the engine runs on whatever else keeps to `Pipeline`.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from renga.models.engine.ipc import EngineConfig, Finish, GenerationRequest

if TYPE_CHECKING:
    from openvino_genai import ContinuousBatchingPipeline, GenerationConfig

Handle: TypeAlias = Any  # openvino_genai exports no name for what add_request returns

_FINISHES: dict[str, Finish] = {"STOP": "stop", "LENGTH": "length"}
_KERNEL_CACHE = 256
"""Kernels that OpenVINO keeps for shapes that it met. With its own 5,000 a process grew by 0.6 MB a request, as every
mix of prompts is a new shape; with none a 1,024-token prompt of a 135 M model took 3.9 s instead of 0.9, as each step
made its kernels anew. 256 is as fast as 5,000 and bounded (docs/log/engine.md)."""


class StepOutput(Struct, frozen=True):
    """What a continuation generated since it was last read."""

    token_ids: list[int]
    logprobs: list[float]
    finish: Finish | None = None


class CacheUse(Struct, frozen=True):
    """How full the key-value cache is."""

    ratio: float
    """Share of it that continuations hold, 0 to 1."""
    size_bytes: int


class Continuation(Protocol):
    """A prompt in the pipeline's hands."""

    def read(self) -> StepOutput:
        """Take the tokens that came since the last call."""
        ...

    def is_refused(self) -> bool:
        """Whether it will never run, because the cache cannot hold it."""
        ...

    def cancel(self) -> None:
        """Stop it. Its blocks are free after the next step, and stay in the prefix cache."""
        ...


Extra: TypeAlias = Literal["images", "adapter"]
"""What a generation may bring besides tokens, by the field's name."""


class Pipeline(Protocol):
    """Continues many prompts at once, a step at a time. Errors are RuntimeErrors."""

    accepts: frozenset[Extra]
    """What a generation may bring besides tokens; a request with any other is refused before it gets here."""

    def add(self, request_id: int, generation: GenerationRequest, stops: frozenset[int]) -> Continuation:
        """Take a prompt in; it is read from the next step on."""
        ...

    def step(self) -> None:
        """Read some of the prompts, and give those that are read one token more each."""
        ...

    def measure_cache(self) -> CacheUse:
        """How full the cache is now."""
        ...


class GenaiPipeline:
    """`Pipeline`, by GenAI's continuous batching of language models.

    It takes no images: GenAI reads a prompt with images as one text (openvino-genai 2026.4.1, `add_request`), in which
    what a client wrote could become control tokens. It takes no adapters: they are chosen when it is built, and its
    requests share one set of weights.
    """

    accepts: frozenset[Extra] = frozenset()

    def __init__(self, pipeline: ContinuousBatchingPipeline, context_tokens: int) -> None:
        self._pipeline = pipeline
        self._context_tokens = context_tokens

    def add(self, request_id: int, generation: GenerationRequest, stops: frozenset[int]) -> GenaiContinuation:
        import numpy as np
        from openvino import Tensor

        config = _make_config(generation, stops, self._context_tokens)
        prompt = Tensor(np.array([generation.prompt_token_ids], dtype=np.int64))
        return GenaiContinuation(self._pipeline.add_request(request_id, prompt, config))

    def step(self) -> None:
        self._pipeline.step()

    def measure_cache(self) -> CacheUse:
        metrics = self._pipeline.get_metrics()
        return CacheUse(metrics.cache_usage / 100, metrics.cache_size_in_bytes)


class GenaiContinuation:
    """`Continuation`, around what GenAI gives for a request."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def read(self) -> StepOutput:
        token_ids: list[int] = []
        logprobs: list[float] = []
        finish: Finish | None = None
        while self._handle.can_read():
            for output in self._handle.read().values():
                token_ids += output.generated_ids
                logprobs += output.generated_log_probs
                finish = _FINISHES.get(output.finish_reason.name)
        return StepOutput(token_ids, logprobs, finish)

    def is_refused(self) -> bool:
        return self._handle.get_status().name == "IGNORED"

    def cancel(self) -> None:
        self._handle.cancel()


def load_pipeline(config: EngineConfig) -> GenaiPipeline:
    """Load the model and its vocabulary."""
    return GenaiPipeline(load_batching(config), config.context_tokens)


def load_batching(config: EngineConfig) -> ContinuousBatchingPipeline:
    """Load GenAI's own pipeline, set as the engine needs it. Benchmarks measure the engine against it alone.

    Cost: imports 0.15 s, vocabulary 0.06 s, model 0.3 s for 8 M parameters and 1.5 s for 135 M. OpenVINO's cache of
          compiled models saves nothing of it on CPU (measured), so it is not used.
    """
    sys.modules["openvino.tools.ovc"] = None  # pyright: ignore - a converter nobody asked for; OpenVINO does without
    import openvino_genai as genai

    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.dynamic_split_fuse = True
    scheduler.max_num_batched_tokens = config.max_batched_tokens
    scheduler.max_num_seqs = config.max_running
    if config.cache_blocks:
        scheduler.num_kv_blocks = config.cache_blocks
    else:
        scheduler.cache_size = 1  # GiB, taken as it is touched
    properties: dict[str, Any] = {"CPU_RUNTIME_CACHE_CAPACITY": _KERNEL_CACHE} if config.device == "CPU" else {}
    if config.threads:
        properties["INFERENCE_NUM_THREADS"] = config.threads
    if config.precision:
        properties["INFERENCE_PRECISION_HINT"] = config.precision
    tokenizer = genai.Tokenizer(_find_vocabulary(config))
    return genai.ContinuousBatchingPipeline(config.model_folder, tokenizer, scheduler, config.device, **properties)


def _find_vocabulary(config: EngineConfig) -> str:
    """Give the detokenizer's folder, made at a model's first start; later starts are spared its imports."""
    if not Path(config.vocabulary_folder).exists():
        from renga.models.engine.loading.detokenizer import save_detokenizer
        from renga.models.engine.text.vocabulary import Vocabulary

        vocabulary = Vocabulary.load(Path(config.model_folder, "tokenizer.json"))
        save_detokenizer(vocabulary, Path(config.vocabulary_folder), size=config.vocabulary_size)
    return config.vocabulary_folder


def _make_config(generation: GenerationRequest, stops: frozenset[int], context_tokens: int) -> GenerationConfig:
    """Write a request's settings in GenAI's words.

    GenAI's seed is the same for every request unless told otherwise, and its greedy decoding is a mode, not a
    temperature (measured).
    """
    import openvino_genai as genai

    config = genai.GenerationConfig()
    config.max_new_tokens = min(generation.max_tokens, context_tokens - len(generation.prompt_token_ids))
    config.logprobs = 1
    config.rng_seed = secrets.randbits(32) if generation.seed is None else generation.seed
    config.stop_token_ids = set(stops)
    if stops:
        config.eos_token_id = min(stops)
    if generation.temperature > 0:
        config.do_sample = True
        config.temperature = generation.temperature
        config.top_p = generation.top_p or 1e-6  # 0 is refused; the nearest thing keeps the likeliest token
        if generation.top_k:
            config.top_k = generation.top_k
    config.frequency_penalty = generation.frequency_penalty
    config.repetition_penalty = generation.repetition_penalty
    if generation.grammar is not None:
        config.structured_output_config = genai.StructuredOutputConfig(grammar=generation.grammar)
    return config
