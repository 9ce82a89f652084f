"""Fields that only some targets honour are kept as features, and refused where no target has them."""

import msgspec
import pytest

from renga.errors import InvalidRequest
from renga.protocols.messages.decode import decode_request, refuse_unmet_features, unmet_features
from renga.protocols.messages.rules.required_features import FEATURE_FIELDS, IGNORED

HELLO = {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def decode(version="2026-10-21", **fields):
    return decode_request(msgspec.json.encode({**HELLO, **fields}), version)


@pytest.mark.parametrize("name", IGNORED)
def test_harmless_fields_are_ignored(name):
    assert decode(**{name: {"any": ["thing"]}}).required_features == ()


@pytest.mark.parametrize("name", FEATURE_FIELDS)
def test_fields_that_change_the_meaning_become_required_features(name):
    request = decode(**{name: {"type": "create"}})
    assert request.required_features == (name,)
    refuse_unmet_features(request, frozenset(FEATURE_FIELDS))
    with pytest.raises(InvalidRequest, match=name) as caught:
        refuse_unmet_features(request, frozenset())
    assert caught.value.path == name
    assert caught.value.error_code == ("thread_unsupported_request" if name == "thread" else None)


@pytest.mark.parametrize("name", FEATURE_FIELDS)
@pytest.mark.parametrize("nothing", [None, [], {}])
def test_a_feature_that_is_nothing_is_not_required(name, nothing):
    assert decode(**{name: nothing}).required_features == ()


def test_threads_are_refused_before_anything_else():
    request = decode(container="c", thread={"type": "create"}, compaction={"type": "summarize"})
    assert request.required_features[0] == "thread"
    assert [feature.name for feature in unmet_features(request, {"container"})] == ["thread", "compaction"]


def test_an_edit_that_edits_nothing_is_not_required():
    keep_all = {"type": "clear_thinking_20251015", "keep": "all"}
    assert decode(context_management={"edits": [keep_all]}).required_features == ()
    for value in ({"edits": [{**keep_all, "keep": {"type": "thinking_turns", "value": 1}}]}, {"edits": 5}, "x"):
        assert decode(context_management=value).required_features == ("context_management",)


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools.defer_loading"),
        ({"tools": [{**TOOL, "allowed_callers": ["code_execution_20250825"]}]}, "tools.allowed_callers"),
        ({"output_config": {"task_budget": {"type": "tokens", "total": 5}}}, "output_config.task_budget"),
        ({"thinking": {"type": "adaptive", "display": "updates"}}, "thinking.display"),
        ({"thinking": {"type": "adaptive", "block_binding": "x"}}, "thinking.block_binding"),
        (
            {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]},
            "container_upload",
        ),
        (
            {"messages": [*HELLO["messages"], {"role": "system", "content": "x", "clear_at": 5}]},
            "messages.clear_at",
        ),
        (
            {"messages": [*HELLO["messages"], {"role": "system", "content": "x", "output_config": {}}]},
            "messages.output_config",
        ),
        (
            {"messages": [*HELLO["messages"], {"role": "system", "content": [{"type": "tool_removal"}]}]},
            "messages.tool_removal",
        ),
    ],
)
def test_required_features_inside_fields(fields, feature):
    request = decode(**fields)
    assert request.required_features == (feature,)
    with pytest.raises(InvalidRequest, match=feature):
        refuse_unmet_features(request, frozenset())


def test_parts_that_require_nothing():
    tool = {**TOOL, "defer_loading": False, "allowed_callers": ["direct"]}
    assert decode(tools=[tool], output_config={"task_budget": None}).required_features == ()
