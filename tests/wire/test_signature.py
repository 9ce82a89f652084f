"""Signatures prove that a thinking block came from here unchanged, for this key and model."""

from hypothesis import given
from hypothesis import strategies as st

from renga.wire.signature import Verdict, sign, verify

SECRET = b"secret"


@given(model=st.text(), owner=st.text(), thinking=st.text())
def test_what_was_signed_is_genuine(model: str, owner: str, thinking: str) -> None:
    signature = sign(SECRET, model, owner, thinking)
    assert verify(SECRET, model, owner, thinking, signature=signature) is Verdict.GENUINE


@given(thinking=st.text(), other=st.text())
def test_changed_thinking_is_forged(thinking: str, other: str) -> None:
    signature = sign(SECRET, "hokku", "key_1", thinking)
    expected = Verdict.GENUINE if thinking == other else Verdict.FORGED
    assert verify(SECRET, "hokku", "key_1", other, signature=signature) is expected


def test_blocks_do_not_travel_between_keys() -> None:
    signature = sign(SECRET, "hokku", "key_1", "hm")
    assert verify(SECRET, "hokku", "key_2", "hm", signature=signature) is Verdict.FORGED


def test_other_systems_and_other_models_are_foreign() -> None:
    assert verify(SECRET, "hokku", "key_1", "hm", signature="EqQBCkYIBBgCKkA") is Verdict.FOREIGN
    other_model = sign(SECRET, "qwen", "key_1", "hm")
    assert verify(SECRET, "hokku", "key_1", "hm", signature=other_model) is Verdict.FOREIGN


def test_moving_a_boundary_between_fields_changes_the_signature() -> None:
    assert sign(SECRET, "m", "ab", "c") != sign(SECRET, "m", "a", "bc")
