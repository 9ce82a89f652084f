from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.engine.conftest import TAGS, make_tokenizer_json
from tokenizers import Tokenizer, decoders, models, normalizers

from renga.errors import ConfigError
from renga.models.engine.text.vocabulary import Vocabulary

BYTE_LEVEL = Vocabulary(make_tokenizer_json())


def make_sentencepiece_json() -> str:
    """A llama-like tokenizer: metaspace words, single bytes as <0xNN>, a space put before the text."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "▁ab"]
    vocabulary = {word: index for index, word in enumerate(words)}
    merges = [("▁", "a"), ("a", "b"), ("▁a", "b")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer.to_str()


SENTENCEPIECE = Vocabulary(make_sentencepiece_json())

_texts = st.one_of(st.text(), st.lists(st.sampled_from(["a", "b", " ", "é", "日", "😀", "<s>", *TAGS])).map("".join))


@pytest.mark.parametrize("vocabulary", [BYTE_LEVEL, SENTENCEPIECE])
@given(text=_texts)
def test_plain_text_comes_back_and_holds_no_control_token(vocabulary: Vocabulary, text: str) -> None:
    token_ids = vocabulary.encode(text, parse_special=False)
    assert b"".join(map(vocabulary.token_bytes, token_ids)).decode() == text
    assert not {vocabulary.token_id("<s>"), *map(vocabulary.token_id, TAGS)} & set(token_ids) - {None}


@given(text=_texts)
def test_decoding_token_by_token_gives_the_text(text: str) -> None:
    decoder = BYTE_LEVEL.decoder()
    pieces = [decoder.push((token_id,)) for token_id in BYTE_LEVEL.encode(text, parse_special=False)]
    assert "�" not in "".join(pieces) or "�" in text
    assert "".join(pieces) + decoder.finish() == text


def test_a_character_cut_short_is_replaced_at_the_end() -> None:
    token_ids = BYTE_LEVEL.encode("日", parse_special=False)
    decoder = BYTE_LEVEL.decoder()
    assert decoder.push(token_ids[:-1]) == ""
    assert decoder.finish() == "�"


def test_special_tokens_are_read_and_hidden_where_asked() -> None:
    token_ids = BYTE_LEVEL.encode("a<|end|><think>b", parse_special=True)
    assert BYTE_LEVEL.token_id("<|end|>") in token_ids
    assert BYTE_LEVEL.decode(token_ids) == "a<think>b"
    assert BYTE_LEVEL.decoder(visible=frozenset({"<|end|>"})).push(token_ids) == "a<|end|><think>b"


def test_sentencepiece_decodes_without_its_first_space() -> None:
    token_ids = [SENTENCEPIECE.token_id(token) for token in ("▁a", "▁ab", "<0xC3>", "<0xA9>")]
    assert SENTENCEPIECE.decode(token_id for token_id in token_ids if token_id is not None) == "a abé"


def test_a_tokenizer_that_cannot_be_streamed_is_refused() -> None:
    definition = json.loads(make_tokenizer_json()) | {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}
    with pytest.raises(ConfigError, match="WordPiece"):
        Vocabulary(json.dumps(definition))
