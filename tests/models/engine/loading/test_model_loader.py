from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import gguf
import huggingface_hub
import pytest
from tests.models.engine.conftest import TAGS, Running, collect, make_tokenizer_json

from renga.config import EngineSettings
from renga.errors import ConfigError
from renga.models.engine.ipc import GenerationRequest
from renga.models.engine.loading.gguf import build_tokenizer_json, read_metadata
from renga.models.engine.loading.model_loader import Model, load_model
from renga.models.engine.loading.model_source import HOKKU_PACKAGE
from renga.models.engine.text.families import detect_family
from renga.models.engine.text.vocabulary import Vocabulary


def test_a_gguf_keeps_its_words_and_its_ends(model: Model) -> None:
    original = Vocabulary(make_tokenizer_json())
    text = "def é(x): 1234 <|end|>"
    assert model.vocabulary.encode(text, parse_special=True) == original.encode(text, parse_special=True)
    assert model.stop_token_ids == (original.token_id("<|end|>"),)
    assert (model.name, model.family.name, model.context_tokens) == ("tiny", "hokku", 4096)


def test_a_gguf_is_converted_once(tiny_gguf: Path, model: Model, capfd: pytest.CaptureFixture[str]) -> None:
    again = load_model(str(tiny_gguf), cache_folder=model.cache_folder)
    assert again.folder == model.folder
    assert capfd.readouterr().err == ""


async def test_a_package_and_its_folder_answer_alike(model: Model, tmp_path: Path) -> None:
    package = tmp_path / "little.zip"
    with zipfile.ZipFile(package, "w") as archive:
        for file in model.folder.iterdir():
            archive.write(file, file.name)
    packed = load_model(str(package), cache_folder=tmp_path / "cache")
    assert packed.name == "little"
    os.utime(package, ns=(1, 1))  # a changed package is unpacked anew
    assert load_model(str(package), cache_folder=tmp_path / "cache").folder != packed.folder
    question = GenerationRequest([9, 10, 11], 10, temperature=0)
    answers = []
    for each in (packed, load_model(str(model.folder), cache_folder=tmp_path / "cache")):
        async with Running(each) as client:
            answers.append(await collect(client, question))
    assert answers[0] == answers[1]


def test_sentencepiece_words_are_read_from_a_gguf(tmp_path: Path) -> None:
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "▁ab"]
    scores = [0.0] * 259 + [-1.0, -2.0, -3.0, -5.0, -4.0, -6.0]
    writer = gguf.GGUFWriter(tmp_path / "words.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores(scores)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * 6])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    vocabulary = Vocabulary(build_tokenizer_json(read_metadata(tmp_path / "words.gguf")))
    token_ids = vocabulary.encode(" ab a</s>é", parse_special=True)
    assert [vocabulary.token_bytes(token_id) for token_id in token_ids] == [b" ab", b" a", b"</s>", b"\xc3", b"\xa9"]
    assert vocabulary.decode(token_ids) == "ab aé"


def test_an_unknown_tokenizer_is_refused_by_name(tiny_gguf: Path) -> None:
    metadata = read_metadata(tiny_gguf)
    with pytest.raises(ConfigError, match="bert"):
        build_tokenizer_json(metadata | {"tokenizer.ggml.model": "bert"})
    with pytest.raises(ConfigError, match="martian"):
        build_tokenizer_json(metadata | {"tokenizer.ggml.pre": "martian"})


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({}, "nowhere.gguf", "there is no model"),
        ({}, "nothing", "there is no model"),
        ({"a.gguf": b"GGUF\x03"}, "a.gguf", "not a readable GGUF"),
        ({"a.zip": b"PK"}, "a.zip", "not a zip file"),
        ({"a.bin": b""}, "a.bin", "neither a folder"),
        ({"m/config.json": b"{}"}, "m", "has no openvino_model.xml"),
        (
            {"m/openvino_model.xml": b"", "m/openvino_model.bin": b"", "m/tokenizer.json": b"", "m/config.json": b"{"},
            "m",
            "is not JSON",
        ),
    ],
)
def test_what_is_no_model_is_refused_with_advice(
    files: dict[str, bytes], name: str, words: str, tmp_path: Path
) -> None:
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_model(str(tmp_path / name), cache_folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*openvino*"))


def test_a_hub_id_is_fetched_only_when_named(monkeypatch: pytest.MonkeyPatch, model: Model, tmp_path: Path) -> None:
    asked: list[str] = []

    def snapshot_download(repository: str, **_: object) -> str:
        asked.append(repository)
        return str(model.folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    fetched = load_model("someone/their-model", cache_folder=tmp_path)
    assert asked == ["someone/their-model"]
    assert fetched.name == "their-model"
    with pytest.raises(ConfigError):
        load_model("./someone/their-model", cache_folder=tmp_path)
    assert len(asked) == 1


def test_steps_are_short_for_large_models_and_the_cache_bounds_the_context(model: Model) -> None:
    small = model.engine_config(EngineSettings(cache_bytes=model.kv_bytes_per_token * 100))
    assert small.context_tokens == small.cache_blocks * 32 == 96
    assert model.engine_config().max_batched_tokens == 512


@pytest.mark.parametrize(
    ("template", "family"),
    [("<|im_start|> <tool_call>", "qwen"), ("<|start_header_id|>", "llama3"), ("[INST]", "plain")],
)
def test_a_family_is_known_by_its_template(template: str, family: str) -> None:
    assert detect_family(template).name == family


@pytest.mark.skipif(not HOKKU_PACKAGE.exists(), reason="hokku is not trained yet")
async def test_hokku_answers(tmp_path: Path) -> None:
    hokku = load_model("hokku", cache_folder=tmp_path)
    assert hokku.family.name == "hokku"
    prompt = hokku.vocabulary.encode("<|user|>Hello!<|end|><|assistant|>", parse_special=True)
    async with Running(hokku) as client:
        answer = await collect(client, GenerationRequest(prompt, 20, temperature=0))
    assert hokku.vocabulary.decode(answer.token_ids)


async def test_logits_without_a_token_are_never_chosen_by_a_grammar(model: Model, tmp_path: Path) -> None:
    shutil.copytree(model.folder, tmp_path, dirs_exist_ok=True)
    definition = json.loads((tmp_path / "tokenizer.json").read_text())
    definition["added_tokens"] = [token for token in definition["added_tokens"] if token["special"]]
    for tag in TAGS:
        definition["model"]["vocab"].pop(tag, None)
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    padded = load_model(str(tmp_path), cache_folder=tmp_path / "cache")
    assert padded.vocabulary.size == padded.vocabulary_size - len(TAGS)
    async with Running(padded) as client:
        for seed in range(5):
            question = GenerationRequest([9, 10], 500, seed=seed, temperature=2.0, grammar="root ::= [^x]{100}")
            answer = await collect(client, question)
            assert max(answer.token_ids) < padded.vocabulary.size
        assert (await collect(client, GenerationRequest([9, 10], 500, temperature=3.0))).finish


def test_config_without_a_shape_leaves_the_cache_to_the_engine(model: Model, tmp_path: Path) -> None:
    shutil.copytree(model.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 128}))
    bare = load_model(str(tmp_path), cache_folder=tmp_path / "cache")
    assert (bare.engine_config().cache_blocks, bare.engine_config().context_tokens) == (0, 128)


def test_a_config_that_says_float32_is_computed_so(model: Model, tmp_path: Path) -> None:
    shutil.copytree(model.folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    for said in ({}, {"dtype": "float32"}, {"torch_dtype": "float32"}, {"dtype": "bfloat16"}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **said}))
        exact = load_model(str(tmp_path), cache_folder=tmp_path / "cache").engine_config().precision
        assert exact == ("f32" if "float32" in said.values() else "")


async def test_hokku_copies_from_behind_a_long_prompt_as_the_bare_graph_does(tmp_path: Path) -> None:
    hokku = load_model("hokku", cache_folder=tmp_path)
    tools = "".join(
        f'{{"name":"{verb}_{noun}","description":"{verb} a {noun}","parameters":{{"type":"object","properties":'
        f'{{"town":{{"type":"string","description":"Town"}},"{noun}_code":{{"type":"string"}}}}}}}}\n'
        for verb in ("book", "cancel", "find")
        for noun in ("flight", "table", "hotel")
    )
    text = (
        f"<|system|>\n<tools>\n{tools}</tools><|end|><|user|>Find a table, town Nairobi.<|end|><|assistant|><tool_call>"
    )
    prompt = hokku.vocabulary.encode(text, parse_special=True)
    assert len(prompt) > 400
    async with Running(hokku) as client:
        answer = await collect(client, GenerationRequest(prompt, 24, temperature=0))
    assert hokku.vocabulary.decode(answer.token_ids).startswith('{"name":"find_table","arguments":{"town":"Nairobi"}}')
    assert answer.token_ids == continue_exactly(hokku.folder, prompt, len(answer.token_ids))


def continue_exactly(folder: Path, prompt: list[int], count: int) -> list[int]:
    """The likeliest tokens by OpenVINO alone, in 32 bits."""
    import numpy
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    request = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", exact).create_infer_request()
    tokens, read = list(prompt), 0
    for _ in range(count):
        inputs = {
            "input_ids": numpy.array([tokens[read:]]),
            "attention_mask": numpy.ones((1, len(tokens)), numpy.int64),
            "position_ids": numpy.arange(read, len(tokens))[None],
            "beam_idx": numpy.zeros(1, numpy.int32),
        }
        read = len(tokens)
        tokens.append(int(request.infer(inputs)["logits"][0, -1].argmax()))
    return tokens[len(prompt) :]
