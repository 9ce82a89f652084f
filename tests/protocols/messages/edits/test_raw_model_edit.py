"""Changing a request's model, against the slow way: decode, change, encode."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.errors import InvalidRequest
from renga.protocols.messages.edits.raw_model_edit import replace_model

TEXT = st.one_of(
    st.sampled_from(["model", '"model"', '"model":"x"', "\\", '\\"', "{", "}", "mod\\u0065l", "é", "\n", "a"]),
    st.text(),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = ['"model"', '"mod\\u0065l"', '"\\u006dodel"', '"\\u006Dodel"']
SPACE = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])
MARK = "\x00MODEL\x00"


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """An object with one or two top-level models among other members, in every spelling and with odd white space."""
    members: list[str] = []
    for name, value in draw(st.dictionaries(TEXT.filter(lambda name: name != "model"), JSON, max_size=5)).items():
        members.append(json.dumps(name, ensure_ascii=draw(st.booleans())) + ":" + json.dumps(value))
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2)):
        place = draw(st.integers(0, len(members)))
        members.insert(place, f"{key}{draw(SPACE)}:{draw(SPACE)}{MARK}{draw(SPACE)}")
    return draw(SPACE) + "{" + draw(SPACE) + f",{draw(SPACE)}".join(members) + "}" + draw(SPACE)


@given(bodies(), TEXT, TEXT)
def test_every_other_byte_stays(body: str, before: str, after: str):
    raw = body.replace(MARK, json.dumps(before)).encode()
    assert replace_model(raw, after) == body.encode().replace(MARK.encode(), msgspec.json.encode(after))


@given(bodies(), TEXT)
def test_the_value_is_what_the_slow_way_makes(body: str, after: str):
    raw = body.replace(MARK, '"old"').encode()
    expected: dict[str, Any] = json.loads(raw)
    expected["model"] = after
    assert json.loads(replace_model(raw, after)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a","messages":[]}',
        b'{"metadata":{"model":"a"},"model":"a"}',
        b'{"tools":[{"input_schema":{"properties":{"model":{"type":"string"}}}}],"model" : "a"}',
        b'{"x":"model","model":"a"}',
        b'{"\\"model":1,"model":"a"}',
        b'{"x":"\\"model\\":\\"a\\"","model":"a"}',
        b'{"model":"a","model":"a"}',
        b'{"mod\\u0065l":"a"}',
    ],
)
def test_hazards(raw: bytes):
    expected = json.loads(raw) | {"model": "big"}
    changed = replace_model(raw, "big")
    assert json.loads(changed) == expected
    assert b'"a"' not in changed.replace(b'{"model":"a"}', b"").replace(b'\\"a\\"', b"")


@pytest.mark.parametrize("raw", [b"{}", b'["model","a"]', b'{"x":"model"}'])
def test_a_body_without_a_model_is_refused(raw: bytes):
    with pytest.raises(InvalidRequest):
        replace_model(raw, "big")
