"""A vocabulary as the OpenVINO model that GenAI reads it from.

Owns: the openvino_detokenizer.xml that gives GenAI the exact bytes of every token, for its grammars.
Must never know: text, requests, the engine's loop.
Invariants: special tokens have bytes that no UTF-8 text has, so that no grammar ever chooses one; every other token has
the bytes that `Vocabulary` gives.

Renga writes this itself rather than trust the one in a model's folder: those spell special tokens out, and a grammar
that allows `<` would then allow `<|end|>` inside a string.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from renga.models.engine.loading.model_cache import create_cached_folder
from renga.models.engine.text.vocabulary import Vocabulary

FILE_NAME = "openvino_detokenizer.xml"
FORMAT = 2
"""Part of the name of a cached folder; to be raised with every change of what is written."""


def save_detokenizer(vocabulary: Vocabulary, folder: Path, *, size: int) -> None:
    """Write the detokenizer of `size` tokens into `folder`, unless it is there already.

    A model may have more logits than its tokenizer has tokens; to grammars those are as special tokens are.

    Cost: 0.3 s for 49 k tokens, most of it OpenVINO's import.
    """
    create_cached_folder(folder, lambda made: _save(_grammar_bytes(vocabulary, size), made / FILE_NAME))


def _grammar_bytes(vocabulary: Vocabulary, size: int) -> list[bytes]:
    """List the bytes of every token as grammars may use them."""
    spelled = (b"" if vocabulary.is_special(index) else vocabulary.token_bytes(index) for index in range(size))
    return [spelling or b"\xff%d" % index for index, spelling in enumerate(spelled)]


def _save(tokens: list[bytes], path: Path) -> None:
    """Build the graph: token ids -> the strings of the tokens -> one string a row."""
    import numpy as np
    import openvino
    import openvino_tokenizers
    from openvino_tokenizers.constants import STRING_OUTPUT_NAME
    from openvino_tokenizers.utils import change_inputs_type

    ov: Any = openvino
    factories: Any = openvino_tokenizers  # the only way to these operations; they have no public name
    create = factories._get_factory().create
    pack = factories._get_opset_factory("opset15").create
    ends = np.cumsum([len(token) for token in tokens], dtype=np.int32)
    begins = np.concatenate([np.zeros(1, np.int32), ends[:-1]])
    characters = np.frombuffer(b"".join(tokens), np.uint8)
    token_ids = ov.op.Parameter(ov.Type.i32, ov.PartialShape(["?", "?"]))
    inputs = [token_ids.output(0), *(ov.op.Constant(values).output(0) for values in (begins, ends, characters))]
    *ragged, strings = create("VocabDecoder", inputs).outputs()
    joined = create("FuzeRagged", ragged).outputs()
    texts = pack("StringTensorPack", [*joined, strings]).outputs()
    texts[0].tensor.add_names({STRING_OUTPUT_NAME})
    model = ov.Model(texts, [token_ids], "detokenizer")
    change_inputs_type(model, ov.Type.i64)
    ov.save_model(model, path, compress_to_fp16=False)
