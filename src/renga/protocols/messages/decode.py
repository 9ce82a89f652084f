"""The Messages request: bytes in, a typed value out, or a 400 that names the JSON path.

Owns: decoding and the words of its errors. The types stand in `protocols/messages/request.py`, the rules in
`protocols/messages/rules/request_rules.py` and `protocols/messages/rules/turns.py`, the classes of fields in
`protocols/messages/rules/required_features.py`; all of them are reached from here.
Must never know: what a particular target can do; that is asked later, of its capabilities.
Invariants: the bytes are parsed once; an error names the path and quotes at most one short value of the request.

Source: docs/reference/messages-api.md, "API versions", "Request fields", "Tools", "Content blocks in a request" and
"What this server does".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import fields

from renga.errors import InvalidRequest
from renga.protocols.messages.request import (
    ApiVersion,
    Display,
    Effort,
    JsonSchemaFormat,
    MessageRequest,
    Metadata,
    OutputConfig,
    RequestFields,
    Thinking,
    ThinkingAdaptive,
    ThinkingBetweenTools,
    ThinkingDisabled,
    ThinkingEnabled,
    Tool,
    ToolChoice,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
    Turn,
)
from renga.protocols.messages.rules.request_rules import check_fields
from renga.protocols.messages.rules.required_features import (
    FEATURE_FIELDS,
    IGNORED,
    refuse_unmet_features,
    sort_features,
    unmet_features,
)
from renga.protocols.messages.rules.turns import check_object, merge_turns

__all__ = [
    "ApiVersion",
    "Display",
    "Effort",
    "JsonSchemaFormat",
    "MessageRequest",
    "Metadata",
    "OutputConfig",
    "Thinking",
    "ThinkingAdaptive",
    "ThinkingBetweenTools",
    "ThinkingDisabled",
    "ThinkingEnabled",
    "Tool",
    "ToolChoice",
    "ToolChoiceAny",
    "ToolChoiceAuto",
    "ToolChoiceNone",
    "ToolChoiceTool",
    "Turn",
    "decode_count",
    "decode_request",
    "merge_turns",
    "refuse_unmet_features",
    "unmet_features",
]


class _KnownFields(RequestFields, frozen=True):
    output_format: JsonSchemaFormat | None = None
    """Where the SDKs of 2025 sent what is `output_config.format` now."""


_Body = msgspec.defstruct(
    "_Body",
    [(name, msgspec.Raw | UnsetType, UNSET) for name in (*IGNORED, *FEATURE_FIELDS)],
    bases=(_KnownFields,),
    frozen=True,
    forbid_unknown_fields=True,
)
_CountBody = msgspec.defstruct("_CountBody", [("max_tokens", int, 1)], bases=(_Body,), frozen=True)
"""The same with max_tokens optional, and of no account."""

_decode_body = cast(Callable[[bytes], _KnownFields], msgspec.json.Decoder(_Body).decode)
_decode_count_body = cast(Callable[[bytes], _KnownFields], msgspec.json.Decoder(_CountBody).decode)
_implemented = attrgetter(*(field.name for field in fields(RequestFields)))
_demanding = attrgetter(*FEATURE_FIELDS)

_UNSET_ALL = (UNSET,) * len(FEATURE_FIELDS)
_NO_DEMAND = frozenset({b"null", b"[]", b"{}"})
_KEEP_ALL_THINKING = {"type": "clear_thinking_20251015", "keep": "all"}
"""The edit that edits nothing; Claude Code sends it with every request."""


def decode_request(body: bytes, version: ApiVersion) -> MessageRequest:
    """Read a `POST /v1/messages` body and hold it against the rules of its API version.

    Raises: InvalidRequest with the path of what is wrong.
    Cost: about 8 us for one short message; grows with the number of blocks.
    """
    return _decode(body, version, counting=False)


def decode_count(body: bytes, version: ApiVersion) -> MessageRequest:
    """Read a `POST /v1/messages/count_tokens` body: the same request, with max_tokens optional.

    Raises: as `decode_request`.
    """
    return _decode(body, version, counting=True)


def _decode(body: bytes, version: ApiVersion, *, counting: bool) -> MessageRequest:
    decode = _decode_count_body if counting else _decode_body
    try:
        decoded = decode(body)
        if not body.isascii():
            body.decode("utf-8")  # strings that stay raw are not looked at by the decoder
    except msgspec.ValidationError as error:
        decoded = _decode_without_nulls(body, error, counting=counting)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None
    findings = check_fields(decoded, version, counting=counting)
    required_features = findings.required_features
    demanding = _demanding(decoded)
    if demanding != _UNSET_ALL:
        for name, raw in zip(FEATURE_FIELDS, demanding, strict=True):
            if raw is not UNSET and _is_demand(name, raw):
                required_features = sort_features((*required_features, name))
    request = MessageRequest(
        *_implemented(decoded), required_features=required_features, breakpoints=findings.breakpoints
    )
    return request if decoded.output_format is None else _with_output_format(request, decoded.output_format)


def _with_output_format(request: MessageRequest, output_format: JsonSchemaFormat) -> MessageRequest:
    config = request.output_config or OutputConfig()
    if config.format is not None:
        raise InvalidRequest("Given twice, here and as output_config.format.", path="output_format")
    check_object(output_format.schema, "output_format.schema")
    config = msgspec.structs.replace(config, format=output_format)
    return msgspec.structs.replace(request, output_config=config)


def _is_demand(name: str, raw: msgspec.Raw) -> bool:
    """Whether a demanding field, as it stands in the body, asks for anything at all."""
    if bytes(raw) in _NO_DEMAND:
        return False
    if name == "context_management":
        try:
            asked: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return True
        edits: Any = cast(dict[str, Any], asked).get("edits") if isinstance(asked, dict) else None
        return not isinstance(edits, list) or any(edit != _KEEP_ALL_THINKING for edit in cast(list[Any], edits))
    return True


def _decode_without_nulls(body: bytes, error: msgspec.ValidationError, *, counting: bool) -> _KnownFields:
    """Try again with every null at the top left out: for an optional field, null means the same as nothing.

    Raises: InvalidRequest for the error that was there, when it stays.
    """
    if b"null" in body:
        try:
            top = msgspec.json.decode(body)
            given = {name: value for name, value in top.items() if value is not None}
            return (_decode_count_body if counting else _decode_body)(msgspec.json.encode(given))
        except msgspec.ValidationError as second:
            error = second
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError):
            pass
    raise _invalid(error) from None


_ERROR = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_JSON_WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}
_CHOICES = {
    "role": "user, assistant or system",
    "ttl": "5m or 1h",
    "effort": "low, medium, high, xhigh or max",
    "display": "summarized or omitted",
    "service_tier": "auto or standard_only",
    "media_type": "text/plain",
    "tool_choice.type": "auto, any, tool or none",
    "thinking.type": "enabled, disabled, adaptive or between_tools",
    "format.type": "json_schema",
    "cache_control.type": "ephemeral",
    "source.type": "base64, url, file, text or content",
}


def _malformed(body: bytes, error: Exception) -> InvalidRequest:
    if not body.strip():
        return InvalidRequest("The request has no body.", hint="send a JSON object")
    if isinstance(error, RecursionError):
        return InvalidRequest("The body is nested too deeply.")
    if isinstance(error, UnicodeDecodeError):
        return InvalidRequest("The body is not UTF-8.")
    what = str(error).removeprefix("JSON is malformed: ")
    if what == "Input data was truncated":
        # msgspec says the same of half a surrogate pair that stands within 12 bytes of the end.
        half = body.rstrip().endswith(b"}") and re.search(rb"\\u[dD][89a-fA-F]", body[-32:])
        what = "half of a surrogate pair stands alone" if half else "it ends too early"
    return InvalidRequest(f"The body is not valid JSON: {what}.")


def _invalid(error: msgspec.ValidationError) -> InvalidRequest:
    """A validation error in words that name the path as clients spell it."""
    match = _ERROR.fullmatch(str(error))
    assert match is not None  # the pattern takes any text
    what, path = match["what"], _client_path(match["path"] or "$")
    if named := re.fullmatch(r"Object missing required field `(.+)`", what):
        return InvalidRequest("Field required.", path=_join(path, named[1]))
    if named := re.fullmatch(r"Object contains unknown field `(.+)`", what, re.DOTALL):
        return InvalidRequest("Extra inputs are not permitted.", path=_join(path, named[1][:100]))
    if named := re.fullmatch(r"Expected `([^`]+)`(?:, got `([^`]+)`)?", what):
        got = f", not {_in_words(named[2])}" if named[2] else ""
        return InvalidRequest(f"Must be {_in_words(named[1])}{got}.", path=path or None)
    if named := re.fullmatch(r"Invalid (?:enum )?value (.+)", what, re.DOTALL):
        return InvalidRequest(_wrong_choice(path, named[1][:100]), path=path or None)
    return InvalidRequest(f"{what}.", path=path or None)


def _wrong_choice(path: str, value: str) -> str:
    *_, parent, name = ("", *path.split("."))
    choices = _CHOICES.get(f"{parent}.{name}") or _CHOICES.get(name)
    if choices is not None:
        return f"Must be {choices}, not {value}."
    if name == "type":
        return f"{value} is not a type of block that the Messages API has."
    return f"{value} is not a value that this field has."


def _client_path(path: str) -> str:
    """Render the path `$.messages[0].content[1]` as `messages.0.content.1`."""
    return path.removeprefix("$").replace("[", ".").replace("]", "").removeprefix(".")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _in_words(types: str) -> str:
    return " or ".join(_JSON_WORDS.get(name, name) for name in types.split(" | ") if name != "null" or types == "null")
