"""Embeddings through the engine process, and requests that its pipeline cannot take: refused before any work."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.models.engine.conftest import collect
from tests.models.engine.random_embedding import RandomEmbedding

from renga.errors import ConfigError, EngineDied, InvalidRequest, Overloaded
from renga.models.engine.client import EngineClient
from renga.models.engine.ipc import EmbeddingRequest, GenerationRequest
from renga.models.engine.loading.embedding_model import load_embedding_model
from renga.models.engine.loading.model_loader import Model, load_model

TEXTS = ("the cat runs.", "dogs", "Dog xyz!", "a b c d e f g h i j k l m n o p q r s t")
"""The last one is longer than the model's context."""


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> RandomEmbedding:
    return RandomEmbedding(tmp_path_factory.mktemp("embedding"))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[EngineClient]:
    client = EngineClient(load_embedding_model(str(folder)).engine_config())
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def test_texts_become_vectors_in_their_order(embedding: RandomEmbedding) -> None:
    async with running(embedding.folder) as client:
        many = tuple(TEXTS[index % len(TEXTS)] for index in range(40))
        vectors, one = await asyncio.gather(
            client.embed(EmbeddingRequest(many, key_id="a")), client.embed(EmbeddingRequest(TEXTS[:1], key_id="b"))
        )
        assert client.in_flight == 0
    for text, vector in zip(many, vectors, strict=True):
        assert vector == pytest.approx(embedding.expect(text), abs=1e-4)
    assert one == [pytest.approx(embedding.expect(TEXTS[0]), abs=1e-4)]


async def test_the_folder_says_how_tokens_are_pooled(tmp_path: Path) -> None:
    embedding = RandomEmbedding(tmp_path)
    embedding.pool("pooling_mode_cls_token")
    async with running(tmp_path) as client:
        (vector,) = await client.embed(EmbeddingRequest(("the cat",)))
    assert vector == pytest.approx(embedding.expect("the cat", cls=True), abs=1e-4)


async def test_a_lost_process_fails_what_it_embeds_and_comes_back(embedding: RandomEmbedding) -> None:
    async with running(embedding.folder) as client:
        await client.wait_ready()
        assert client.process_id is not None
        os.kill(client.process_id, signal.SIGSTOP)
        lost = asyncio.create_task(client.embed(EmbeddingRequest(TEXTS)))
        while not client.in_flight:
            await asyncio.sleep(0)
        os.kill(client.process_id, signal.SIGKILL)
        with pytest.raises(EngineDied):
            await lost
        assert len(await client.embed(EmbeddingRequest(TEXTS))) == len(TEXTS)


async def test_leaving_frees_the_place(embedding: RandomEmbedding) -> None:
    async with running(embedding.folder) as client:
        await client.wait_ready()
        left = asyncio.create_task(client.embed(EmbeddingRequest(TEXTS * 1000)))
        while not client.stats().running:
            await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        while client.stats().running:
            await asyncio.sleep(0.001)
        assert client.in_flight == 0


async def test_more_than_it_takes_is_refused(embedding: RandomEmbedding) -> None:
    config = load_embedding_model(str(embedding.folder)).engine_config()
    client = EngineClient(config)
    await client.start()
    try:
        await client.wait_ready()
        assert client.process_id is not None
        os.kill(client.process_id, signal.SIGSTOP)
        most = config.max_running + config.max_waiting
        waiting = [asyncio.create_task(client.embed(EmbeddingRequest(TEXTS[:1]))) for _ in range(most)]
        while client.in_flight < most:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await client.embed(EmbeddingRequest(TEXTS[:1]))
        os.kill(client.process_id, signal.SIGCONT)
        assert len(await asyncio.gather(*waiting)) == most
    finally:
        await client.stop()


async def test_each_kind_of_model_says_what_it_does_not(embedding: RandomEmbedding, client: EngineClient) -> None:
    with pytest.raises(InvalidRequest, match="gives no embeddings"):
        await client.embed(EmbeddingRequest(("text",)))
    async with running(embedding.folder) as embedder:
        with pytest.raises(InvalidRequest, match="writes no answers"):
            await collect(embedder, GenerationRequest([1, 2], 3))
        with pytest.raises(InvalidRequest, match="no text to embed"):
            await embedder.embed(EmbeddingRequest(()))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (GenerationRequest([10, 11], 3, images=(b"\x89PNG",)), "reads no images"),
        (GenerationRequest([10, 11], 3, adapter="/some/adapter"), "without adapters"),
    ],
)
async def test_what_a_pipeline_cannot_take_is_refused_before_work(
    client: EngineClient, request_: GenerationRequest, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        await collect(client, request_)
    assert client.stats().running == 0


def test_folders_are_told_apart(embedding: RandomEmbedding, model: Model, tmp_path: Path) -> None:
    found = load_embedding_model(str(embedding.folder))
    assert (found.dimensions, found.context_tokens, found.pooling, found.precision) == (8, 16, "mean", "f32")
    with pytest.raises(ConfigError, match="holds an embedding model, which writes no answers"):
        load_model(str(embedding.folder), cache_folder=tmp_path)
    with pytest.raises(ConfigError, match="holds no embedding model"):
        load_embedding_model(str(model.folder))
    (embedding.folder / "openvino_tokenizer.xml").rename(tmp_path / "away.xml")
    try:
        with pytest.raises(ConfigError, match=r"no openvino_tokenizer\.xml"):
            load_embedding_model(str(embedding.folder))
    finally:
        (tmp_path / "away.xml").rename(embedding.folder / "openvino_tokenizer.xml")
