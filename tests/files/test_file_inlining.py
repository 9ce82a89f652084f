"""Files that a request names: what a target gets instead, and what is refused."""

from base64 import b64encode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.errors import InvalidRequest, NotFound, RequestTooLarge
from renga.files.file_inlining import FileInliner, find_references, replace_raw
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.inference_request import Caller, InferenceRequest

from .conftest import ALICE, BOB, put

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
PDF = b"%PDF-1.7 and so on"


def request_with(*blocks, **fields):
    body = {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": list(blocks)}], **fields}
    return request_of(msgspec.json.encode(body))


def request_of(body, owner=ALICE):
    caller = Caller(owner.key_id, owner.workspace_id)
    return InferenceRequest(decode_request(body, "2026-10-21"), body, caller, "req_1", "messages", 0)


def owned_by(owner, request):
    return request_of(request.body, owner)


def named(file_id, block="document", **fields):
    return {"type": block, "source": {"type": "file", "file_id": file_id}, **fields}


@pytest.fixture
def inliner(files):
    return FileInliner(files)


async def resolve(inliner, request):
    """The outcome, with the oracle: the bytes, decoded again, are the request."""
    changed = await inliner.resolve(request)
    assert decode_request(changed.body, "2026-10-21") == changed.message
    assert list(find_references(changed.message)) == []
    return msgspec.json.decode(changed.body)


@pytest.mark.parametrize(
    ("content", "name", "block", "source"),
    [
        (b"plain", "a.txt", "document", {"type": "text", "media_type": "text/plain", "data": "plain"}),
        (b"\xef\xbb\xbfa,b", "a.csv", "document", {"type": "text", "media_type": "text/plain", "data": "a,b"}),
        (b'{"a": 1}', "a.json", "document", {"type": "text", "media_type": "text/plain", "data": '{"a": 1}'}),
        (PDF, "a", "document", {"type": "base64", "media_type": "application/pdf", "data": b64encode(PDF).decode()}),
        (PNG, "a", "image", {"type": "base64", "media_type": "image/png", "data": b64encode(PNG).decode()}),
    ],
)
async def test_each_kind_becomes_what_any_target_knows(files, inliner, content, name, block, source):
    row = await put(files, content, name=name)
    got = await resolve(inliner, request_with({"type": "text", "text": "Look:"}, named(row.file_id, block)))
    assert got["messages"][0]["content"][1]["source"] == source


async def test_a_request_without_files_is_not_touched(inliner):
    request = request_with({"type": "text", "text": '"file_id"'})
    assert await inliner.resolve(request) is request


async def test_everything_else_stays_as_it_was(files, inliner):
    row = await put(files, b"text", name="a.txt")
    fields = {"title": "T", "context": "C", "citations": {"enabled": True}, "cache_control": {"type": "ephemeral"}}
    request = request_with(named(row.file_id, **fields), metadata={"user_id": "u"}, temperature=None)
    got = await resolve(inliner, request)
    expected = msgspec.json.decode(request.body)
    expected["messages"][0]["content"][0]["source"] = {"type": "text", "media_type": "text/plain", "data": "text"}
    assert got == expected


async def test_files_stand_in_results_of_tools_and_inside_documents(files, inliner):
    text, image = await put(files, b"text", name="a.txt"), await put(files, PNG)
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [named(text.file_id), named(image.file_id, "image")],
    }
    nested = {"type": "document", "source": {"type": "content", "content": [named(image.file_id, "image")]}}
    raw = msgspec.json.encode(
        {
            "model": "haiku",
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [result, nested]},
            ],
        }
    )
    got = await resolve(inliner, request_of(raw))
    content = got["messages"][2]["content"]
    assert [part["source"]["type"] for part in content[0]["content"]] == ["text", "base64"]
    assert content[1]["source"]["content"][0]["source"]["media_type"] == "image/png"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("file", "file_id"), ("file", "f\\u0069le_id"), ("fi\\u006ce", "file_id"), ("\\u0066ile", "file_id")],
)
async def test_a_name_cannot_be_hidden_from_the_check(files, inliner, kind, name):
    raw = b'{"model":"haiku","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":'
    raw += b'{"type" :  "%b","%b":"file_of_somebody"}}]}]}' % (kind.encode(), name.encode())
    with pytest.raises(NotFound):
        await inliner.resolve(request_of(raw))


async def test_others_files_are_not_there(files, inliner):
    row = await put(files, b"secret", name="a.txt")
    with pytest.raises(NotFound) as raised:
        await inliner.resolve(owned_by(BOB, request_with(named(row.file_id))))
    assert raised.value.path == "messages.0.content.0.source.file_id"


async def test_deleted_and_expired_files_say_so(files, inliner, clock):
    deleted, expired = await put(files, b"a", name="a.txt"), await put(files, b"b", name="b.txt", expires_in_s=3600)
    await files.delete(ALICE, deleted.file_id)
    clock.advance(7_200)
    with pytest.raises(NotFound, match="was deleted"):
        await inliner.resolve(request_with(named(deleted.file_id)))
    with pytest.raises(NotFound, match="has expired") as raised:
        await inliner.resolve(request_with(named(expired.file_id)))
    assert raised.value.error_code == "file_expired"


@pytest.mark.parametrize(
    ("content", "name", "block", "says"),
    [
        (b"text", "a.txt", "image", "is text/plain; an image is JPEG"),
        (PDF, "a", "image", "is application/pdf; an image is"),
        (PNG, "a", "document", "is image/png; a document is a PDF or text"),
        (b"\x00\x01", "a.bin", "document", "is application/octet-stream; a document"),
        (b"\xff\xfe\x00", "a.txt", "document", "is text/plain, and not UTF-8"),
    ],
)
async def test_what_a_block_cannot_hold_is_refused_by_name(files, inliner, content, name, block, says):
    row = await put(files, content, name=name)
    with pytest.raises(InvalidRequest, match=says) as raised:
        await inliner.resolve(request_with(named(row.file_id, block)))
    assert raised.value.path == "messages.0.content.0.source.file_id"


async def test_files_of_one_request_are_bounded_together(files, inliner):
    row = await put(files, b"x" * 60_000, name="a.txt")
    await resolve(inliner, request_with(named(row.file_id)))
    with pytest.raises(RequestTooLarge, match="have 120000 bytes together; 100000 may be"):
        await inliner.resolve(request_with(named(row.file_id), named(row.file_id)))


async def test_a_container_upload_is_refused(inliner):
    with pytest.raises(InvalidRequest, match="nothing here runs one") as raised:
        await inliner.resolve(request_with({"type": "container_upload", "file_id": "file_1"}))
    assert raised.value.path == "messages.0.content.0"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def paths_of(value, path=()):
    yield path
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from paths_of(inner, (*path, step))


@settings(max_examples=60)
@given(json_values, st.data())
def test_replacing_in_bytes_is_replacing_in_values(value, data):
    path = data.draw(st.sampled_from(list(paths_of(value))))
    got = msgspec.json.decode(replace_raw(msgspec.json.encode(value), {path: b'"new"'}))
    box = {"root": value}
    target, step = box, "root"
    for name in path:
        target, step = target[step], name
    target[step] = "new"
    assert got == box["root"]
