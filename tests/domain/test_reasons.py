"""Reasons are written once and read back: whatever a name is, it is never taken for a reason."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.domain.reasons import Reason, ReasonKind, parse_reasons, render_reasons

KINDS = get_args(ReasonKind)
REASONS = st.lists(
    st.builds(Reason, st.sampled_from(KINDS), st.text() | st.text("abc:;,%3B25/", max_size=12)), max_size=6
).map(tuple)


@given(reasons=REASONS)
def test_what_is_written_is_read_back(reasons: tuple[Reason, ...]) -> None:
    assert parse_reasons(render_reasons(reasons)) == reasons


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("", ()),
        ("tier:haiku", (Reason("tier", "haiku"),)),
        ("auto;cache:hit", (Reason("auto"), Reason("cache", "hit"))),
        (
            "policy:auto;triage:up:score>up;check:structural:ok,logprob:0.95;escalated:logprob:0.95;last_resort",
            (
                Reason("policy", "auto"),
                Reason("triage", "up:score>up"),
                Reason("check", "structural:ok,logprob:0.95"),
                Reason("escalated", "logprob:0.95"),
                Reason("last_resort"),
            ),
        ),
        ("sent:kept", (Reason("sent_kept"),)),
        ("sent:escalated:structural:refusal", (Reason("sent_escalated", "structural:refusal"),)),
        ("target;not_ready:small/llama3:8b", (Reason("target"), Reason("not_ready", "small/llama3:8b"))),
    ],
)
def test_the_words_are_those_of_the_header(text: str, reasons: tuple[Reason, ...]) -> None:
    assert render_reasons(reasons) == text
    assert parse_reasons(text) == reasons


@pytest.mark.parametrize("name", [*KINDS, "structural", "a;last_resort", "check:structural:ok", "50%", "%3B"])
def test_a_policy_may_be_called_like_a_reason(name: str) -> None:
    (reason,) = parse_reasons(render_reasons((Reason("policy", name),)))
    assert (reason.kind, reason.detail) == ("policy", name)


def test_a_kind_of_a_later_version_stays_as_it_is() -> None:
    assert render_reasons(parse_reasons("policy:auto;moon:full;sent:back:1")) == "policy:auto;moon:full;sent:back:1"
