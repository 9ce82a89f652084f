"""OpenVINO GenAI's text embedding, behind the one call that the engine needs.

Owns: loading it, and its settings.
Must never know: who goes first, sockets.
Invariant: no GenAI type leaves this file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from renga.models.engine.ipc import EngineConfig

if TYPE_CHECKING:
    from openvino_genai import TextEmbeddingPipeline


class EmbeddingPipeline(Protocol):
    """Turns texts into vectors. Errors are RuntimeErrors."""

    def embed(self, texts: tuple[str, ...]) -> list[list[float]]:
        """Give one vector of length 1 for each text, in their order."""
        ...


class GenaiEmbeddingPipeline:
    """`EmbeddingPipeline`, by GenAI. The model's folder brings its tokenizer as an OpenVINO model."""

    def __init__(self, pipeline: TextEmbeddingPipeline) -> None:
        self._pipeline = pipeline

    def embed(self, texts: tuple[str, ...]) -> list[list[float]]:
        vectors: Any = self._pipeline.embed_documents(list(texts))
        return [[float(value) for value in vector] for vector in vectors]


def load_embedding_pipeline(config: EngineConfig) -> GenaiEmbeddingPipeline:
    """Load the model with its pooling; texts longer than its context are cut there, as the models' makers do."""
    sys.modules["openvino.tools.ovc"] = None  # pyright: ignore - a converter nobody asked for; OpenVINO does without
    import openvino_genai as genai

    pooling = genai.TextEmbeddingPipeline.PoolingType
    settings = genai.TextEmbeddingPipeline.Config()
    settings.pooling_type = {"mean": pooling.MEAN, "cls": pooling.CLS, "last_token": pooling.LAST_TOKEN}[config.pooling]
    settings.normalize = True
    settings.max_length = config.context_tokens
    properties: dict[str, Any] = {}
    if config.threads:
        properties["INFERENCE_NUM_THREADS"] = config.threads
    if config.precision:
        properties["INFERENCE_PRECISION_HINT"] = config.precision
    pipeline = genai.TextEmbeddingPipeline(config.model_folder, config.device, settings, **properties)
    return GenaiEmbeddingPipeline(pipeline)
