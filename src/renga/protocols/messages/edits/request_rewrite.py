"""A request's body with some of its fields changed; every other byte of a field stays as the client wrote it.

Owns: changing top-level fields in the body and in the decoded request alike, so that both say the same.
Must never know: why.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import Turn

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def ask_whole(request: InferenceRequest, temperature: float | None) -> InferenceRequest:
    """The same request, not streamed; at another temperature unless that is None."""
    fields = _decode_fields(request.body)
    fields.pop("stream", None)
    changed = replace(request.message, stream=False)
    if temperature is not None:
        fields["temperature"] = msgspec.Raw(msgspec.json.encode(temperature))
        changed = replace(changed, temperature=temperature)
    return request.with_body(changed, msgspec.json.encode(fields))


def add_exchange(request: InferenceRequest, answer: str, remark: str) -> InferenceRequest:
    """The same conversation, gone on by an answer and a remark on it."""
    turns = (Turn("assistant", (TextBlock(answer),)), Turn("user", (TextBlock(remark),)))
    fields = _decode_fields(request.body)
    messages = _decode_list(fields["messages"])
    messages += [
        msgspec.Raw(msgspec.json.encode({"role": role, "content": [{"type": "text", "text": text}]}))
        for role, text in (("assistant", answer), ("user", remark))
    ]
    fields["messages"] = msgspec.Raw(msgspec.json.encode(messages))
    longer = replace(request.message, messages=(*request.message.messages, *turns))
    return request.with_body(longer, msgspec.json.encode(fields))
