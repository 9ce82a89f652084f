"""`renga route explain`: how a prompt, or a whole request, would be answered."""

from __future__ import annotations

import re

import msgspec
from tests.cli.conftest import Shell, read_lines


def test_a_prompt_is_explained(shell: Shell) -> None:
    done = shell.run("route", "explain", "-", stdin="Why is the sky blue?\n")
    assert (done.code, done.err) == (0, "")
    lines = read_lines(done.out)
    assert list(lines) == ["route", "score", "reasons", "floor", "plan", "1.", "decided in"]
    assert lines["route"] == "verify: the small tier answers, and the answer is checked before it is kept"
    assert re.fullmatch(r"\d+ us \(median of 21\)", lines["decided in"])
    assert (lines["plan"], lines["1."]) == ("policy:auto;triage:verify;nothing_above", "local/hokku (haiku)")
    longer = shell.call("route", "explain", "Prove that every compact Hausdorff space is normal. " * 9, "--json")
    short = shell.call("route", "explain", "Why is the sky blue?", "--json")
    hard, easy = (msgspec.json.decode(each.out) for each in (longer, short))
    assert hard["score"] > easy["score"]
    assert (easy["route"], easy["reasons"]) == ("verify", ["score"])
    assert 0.0 < easy["decision_us"] < 1e6


def test_the_configured_policies_decide(shell: Shell) -> None:
    shell.write_config(
        """
[providers.vllm]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9"
[tiers]
opus = ["vllm/large"]
[prices."vllm/large"]
input_usd = 4.0
output_usd = 20.0
[policies.auto]
second = "vllm/small"
streaming = "optimistic"
[policies.careful]
floor_points = 1.0
"""
    )
    lines = read_lines(shell.call("route", "explain", "Why?").out)
    assert lines["1."] == "local/hokku (haiku), held until checked: structural, logprob, agreement"
    assert lines["2."] == "vllm/large (opus)"
    # 256 tokens of output are expected of a target that nobody has asked yet.
    assert lines["expected"] == "not known; the top tier alone $0.005124"
    careful = msgspec.json.decode(shell.call("route", "explain", "Why?", "--model", "careful", "--json").out)
    assert careful["plan"] == "policy:careful;floor:1;up:no_certificate"
    assert [attempt["target"] for attempt in careful["attempts"]] == ["vllm/large", "local/hokku"]
    assert read_lines(shell.call("route", "explain", "Why?", "--model", "opus").out)["plan"] == "tier:opus"


def test_a_whole_request_is_explained_with_its_shape(shell: Shell) -> None:
    tool = {"name": "get_weather", "input_schema": {"type": "object"}}
    request = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Rain?"}], "tools": [tool]}
    (shell.folder / "request.json").write_bytes(msgspec.json.encode(request | {"stop_sequences": ["END"]}))
    done = shell.call("route", "explain", "--request", "request.json")
    assert done.code == 0
    assert read_lines(done.out)["reasons"] == "tools, stop_sequences"
    # This ended with the newest version, and is still right in the older one.
    text = {"type": "text", "text": "2"}
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "1"}}
    turns = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": [document, text]}]
    turns.append({"role": "user", "content": "3?"})
    (shell.folder / "request.json").write_bytes(msgspec.json.encode(request | {"messages": turns}))
    assert shell.call("route", "explain", "--request", "request.json").code == 0
