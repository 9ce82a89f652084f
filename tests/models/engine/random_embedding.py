"""A tiny embedding model with random weights, as an OpenVINO folder: what it must answer is computed here by numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops
from openvino_tokenizers.tokenizer_pipeline import (
    CaseFoldStep,
    CombineSegmentsStep,
    NormalizeUnicode,
    PaddingStep,
    RegexSplitStep,
    SpecialTokensSplit,
    TokenizerPipeline,
    TruncationStep,
    WordPieceTokenizationStep,
)
from openvino_tokenizers.utils import change_outputs_type
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz", "cat", "dog", "##s", "runs", "the", ".")
DIMENSIONS = 8
CONTEXT_TOKENS = 16


class RandomEmbedding:
    """The folder, and the same arithmetic beside it."""

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.folder = folder
        self._table = random.normal(size=(len(WORDS), DIMENSIONS)).astype(np.float32)
        self._matrix = random.normal(size=(DIMENSIONS, DIMENSIONS)).astype(np.float32)
        self._tokenizer = _make_tokenizer()
        self._tokenizer.save(str(folder / "tokenizer.json"))
        config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": DIMENSIONS}
        config |= {"vocab_size": len(WORDS), "max_position_embeddings": CONTEXT_TOKENS, "dtype": "float32"}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        ov.save_model(self._build(), folder / "openvino_model.xml", compress_to_fp16=False)
        _save_tokenizer(json.loads(self._tokenizer.to_str()), folder)

    def pool(self, pooling: str) -> None:
        """Say in the folder how tokens' vectors become the text's."""
        (self.folder / "1_Pooling").mkdir(exist_ok=True)
        (self.folder / "1_Pooling" / "config.json").write_text(json.dumps({pooling: True}), encoding="utf-8")

    def expect(self, text: str, *, cls: bool = False) -> list[float]:
        """The vector of a text: the mean of its tokens', or the first one's; of length 1."""
        ids = self._tokenizer.encode(text).ids
        if len(ids) > CONTEXT_TOKENS:
            ids = [*ids[: CONTEXT_TOKENS - 1], ids[-1]]
        tokens = np.tanh(self._table[ids] @ self._matrix)
        vector = tokens[0] if cls else tokens.mean(axis=0)
        return [float(value) for value in vector / np.linalg.norm(vector)]

    def _build(self) -> ov.Model:
        names = ("input_ids", "attention_mask", "token_type_ids")
        inputs = [ops.parameter([-1, -1], np.int64, name=name) for name in names]
        for name, node in zip(names, inputs, strict=True):
            node.output(0).get_tensor().set_names({name})
        rows = ops.gather(ops.constant(self._table), inputs[0], ops.constant(0))
        hidden = ops.tanh(ops.matmul(rows, ops.constant(self._matrix), False, False))
        unused = ops.convert(ops.unsqueeze(ops.add(inputs[1], inputs[2]), ops.constant(-1)), np.float32)
        out = ops.add(hidden, ops.multiply(unused, ops.constant(np.float32(0))))
        out.output(0).get_tensor().set_names({"last_hidden_state"})
        return ov.Model([out], inputs, "bert")  # type: ignore[call-overload,arg-type]


def _make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def _save_tokenizer(definition: dict[str, object], folder: Path) -> None:
    """The same tokenizer as the OpenVINO model that GenAI runs."""
    combine = CombineSegmentsStep.from_hf_json_bert_postprocessor({"cls": ["[CLS]", 2], "sep": ["[SEP]", 3]})
    truncate = TruncationStep(max_length=CONTEXT_TOKENS - 2, truncation=True)
    pipeline = TokenizerPipeline(vocab=list(WORDS))
    pipeline.add_steps(
        [
            SpecialTokensSplit.from_string_iter(WORDS[:4]),
            NormalizeUnicode("NFD"),
            CaseFoldStep(),
            *RegexSplitStep.bert_splitter(),
            WordPieceTokenizationStep.from_hf_json(definition),
            truncate,
            combine,
            PaddingStep(token="[PAD]", _token_id=0),
        ]
    )
    made = change_outputs_type(pipeline.get_tokenizer_ov_subgraph(), ov.Type.i64)
    ov.save_model(made, folder / "openvino_tokenizer.xml")
