"""A tiny model with random weights, made once a run: everything in this folder runs against a real engine process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import gguf
import msgspec
import pytest
import pytest_asyncio
from benchmarks.engine import random_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from renga.config import EngineSettings
from renga.models.engine.client import EngineClient
from renga.models.engine.ipc import GenerationRequest, TokenBatch
from renga.models.engine.loading.model_loader import Model, load_model

os.environ["TOKENIZERS_PARALLELISM"] = "false"

_HERE = Path(__file__).parent

SPECIAL = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>")
TAGS = ("<think>", "</think>", "<tools>", "</tools>", "<tool_call>", "</tool_call>")

HOKKU_LIKE = """\
{%- if tools or (messages and messages[0].role == 'system') -%}
<|system|>{{ messages[0].content if messages[0].role == 'system' }}
{%- if tools %}

<tools>
{% for tool in tools %}{{ tool.function | tojson }}
{% endfor %}</tools>
{%- endif %}<|end|>
{%- endif -%}
{%- for message in messages -%}
{%- if message.role != 'system' -%}
{%- if message.role == 'user' %}<|user|>{% elif message.role == 'tool' %}<|tool|>{% else %}<|assistant|>{% endif -%}
{%- if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif -%}
{{ message.content }}
{%- for call in message.tool_calls or [] -%}
<tool_call>{"name":{{ call.function.name | tojson }},"arguments":{{ call.function.arguments | tojson }}}</tool_call>
{%- endfor -%}
<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}<|assistant|>{% if enable_thinking %}<think>{% endif %}{% endif -%}
"""


def make_tokenizer_json() -> str:
    """A byte-level tokenizer of 400 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([Path(__file__).read_text(encoding="utf-8")], trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    (folder / "tokenizer.json").write_text(make_tokenizer_json(), encoding="utf-8")
    words = random_model.read_words(folder / "tokenizer.json", end="<|end|>", chat_template=HOKKU_LIKE)
    shape = random_model.Shape(2, 64, 4, 2, 128, 4096, gguf.GGMLQuantizationType.F16)
    random_model.write_gguf(folder / "tiny.gguf", shape, words)
    return folder / "tiny.gguf"


@pytest.fixture(scope="session")
def model(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(str(tiny_gguf), cache_folder=tmp_path_factory.mktemp("cache"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run this folder's async tests in the loop of the engine that they share."""
    for item in items:
        if _HERE in item.path.parents and isinstance(item, pytest.Function) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def client(model: Model) -> AsyncIterator[EngineClient]:
    """An engine process that the tests of this folder share; one that stops or kills it starts its own."""
    client = EngineClient(model.engine_config(EngineSettings(cache_bytes=1 << 24)))
    await client.start()
    yield client
    await client.stop()


class Running:
    """A client with other settings, for one test."""

    def __init__(self, model: Model, **settings: int) -> None:
        self.client = EngineClient(
            msgspec.structs.replace(model.engine_config(EngineSettings(cache_bytes=1 << 24)), **settings)
        )

    async def __aenter__(self) -> EngineClient:
        await self.client.start()
        return self.client

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()


async def collect(client: EngineClient, generation: GenerationRequest) -> TokenBatch:
    """The whole answer as one batch."""
    batches = [batch async for batch in client.generate(generation)]
    assert [batch.finish for batch in batches[:-1]] == [None] * (len(batches) - 1)
    return TokenBatch(
        token_ids=[token_id for batch in batches for token_id in batch.token_ids],
        logprobs=[logprob for batch in batches for logprob in batch.logprobs],
        finish=batches[-1].finish,
    )
