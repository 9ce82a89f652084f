"""Bodies of create requests in any pieces, requests of batches, neighbours, lines of results."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.errors import InvalidRequest
from renga.protocols.resources.batch_body import RequestSplitter
from renga.protocols.resources.batches import (
    decode_batch_request,
    errored_result,
    prefix_of,
    render_line,
    succeeded_result,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
requests = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=3), min_size=1, max_size=5)


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    """What a splitter gives for a body that comes in these pieces."""
    splitter = RequestSplitter()
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    found = [element for start, end in pairwise(edges) for element in splitter.feed(body[start:end])]
    splitter.close()
    return found


@settings(max_examples=40)
@given(requests, st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from([None, 1]), st.booleans())
def test_any_pieces_give_the_same_elements(
    elements: list[Any], cuts: list[int], indent: int | None, is_ascii: bool
) -> None:
    body = json.dumps({"requests": elements}, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    assert [json.loads(element) for element in split(body, cuts)] == elements


@settings(max_examples=40)
@given(requests, st.integers(0, 10_000))
def test_a_body_that_ends_too_early_is_refused(elements: list[Any], at: int) -> None:
    body = json.dumps({"requests": elements}).encode()
    with pytest.raises(InvalidRequest):
        split(body[: at % len(body)], [])


@pytest.mark.parametrize("tail", [b"x", b"}", b",", b' "more": 1}'])
def test_what_follows_the_requests_is_refused(tail: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        split(b'{"requests":[{}]' + tail + b"}", [])


def test_too_many_requests_are_refused_as_soon_as_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("renga.protocols.resources.batch_body.MAX_REQUESTS", 3)
    splitter = RequestSplitter()
    splitter.feed(b'{"requests":[{},{},{}')
    with pytest.raises(InvalidRequest, match="at most 3 requests"):
        splitter.feed(b",{")


def test_nesting_has_an_end() -> None:
    with pytest.raises(InvalidRequest, match="Nested too deeply"):
        split(b'{"requests":[{"a":' + b"[" * 600, [])


def test_a_request_keeps_its_params_as_they_were() -> None:
    request = decode_batch_request(b'{"custom_id":"a-1_B", "params": {"b" : 1.0} }', 7)
    assert (request.custom_id, bytes(request.params)) == ("a-1_B", b'{"b" : 1.0}')


@pytest.mark.parametrize("custom_id", ["", "a b", "ä", "a" * 65])
def test_custom_ids_are_plain(custom_id: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_batch_request(json.dumps({"custom_id": custom_id, "params": {}}).encode(), 3)
    assert caught.value.path == "requests.3.custom_id"


def params(system: str, text: Any) -> bytes:
    return json.dumps({"model": "m", "system": system, "messages": [{"role": "user", "content": text}]}).encode()


def test_requests_that_begin_alike_are_neighbours() -> None:
    document = {"type": "text", "text": "a long document"}
    same = [params("one", [document, {"type": "text", "text": f"question {n}"}]) for n in range(3)]
    other_text, other_system = params("one", "something else"), params("two", [document])
    ordered = sorted([other_system, same[0], other_text, same[2], same[1]], key=prefix_of)
    assert sorted(ordered.index(each) for each in same) in ([0, 1, 2], [1, 2, 3], [2, 3, 4])
    assert abs(ordered.index(other_text) - ordered.index(same[0])) <= 3
    assert ordered.index(other_system) in (0, 4)
    assert len(prefix_of(b"not json")) == len(prefix_of(same[0])) == 32


def test_lines_of_results() -> None:
    assert json.loads(render_line("a", "canceled", None)) == {"custom_id": "a", "result": {"type": "canceled"}}
    message = succeeded_result(b'{"id":"msg_1"}')
    assert json.loads(render_line("a", "succeeded", message))["result"] == {
        "type": "succeeded",
        "message": {"id": "msg_1"},
    }
    error = errored_result(InvalidRequest("Wrong.", path="x"), "req_1")
    assert json.loads(render_line("a", "errored", error))["result"]["error"] == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "x: Wrong."},
        "request_id": "req_1",
    }
