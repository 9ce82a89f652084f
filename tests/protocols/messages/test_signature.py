"""Signatures prove that a thinking block came from here unchanged, for this key and model."""

from hypothesis import given
from hypothesis import strategies as st

from renga.protocols.messages.signature import SignatureVerdict, sign, verify

SECRET = b"secret"


@given(model=st.text(), owner=st.text(), thinking=st.text())
def test_what_was_signed_is_genuine(model: str, owner: str, thinking: str) -> None:
    signature = sign(SECRET, model, owner, thinking)
    assert verify(SECRET, model, owner, thinking, signature=signature) is SignatureVerdict.GENUINE


@given(thinking=st.text(), other=st.text())
def test_changed_thinking_is_forged(thinking: str, other: str) -> None:
    signature = sign(SECRET, "hokku", "key_1", thinking)
    expected = SignatureVerdict.GENUINE if thinking == other else SignatureVerdict.FORGED
    assert verify(SECRET, "hokku", "key_1", other, signature=signature) is expected


def test_blocks_do_not_travel_between_keys() -> None:
    signature = sign(SECRET, "hokku", "key_1", "hm")
    assert verify(SECRET, "hokku", "key_2", "hm", signature=signature) is SignatureVerdict.FORGED


def test_other_systems_and_other_models_are_foreign() -> None:
    assert verify(SECRET, "hokku", "key_1", "hm", signature="EqQBCkYIBBgCKkA") is SignatureVerdict.FOREIGN
    other_model = sign(SECRET, "qwen", "key_1", "hm")
    assert verify(SECRET, "hokku", "key_1", "hm", signature=other_model) is SignatureVerdict.FOREIGN


def test_moving_a_boundary_between_fields_changes_the_signature() -> None:
    assert sign(SECRET, "m", "ab", "c") != sign(SECRET, "m", "a", "bc")
