"""uvicorn's HTTP/1.1 protocol, with what is ours at the level of bytes.

Owns: errors in the API's shape for what never becomes a request, the limit of a request's head, and passing over offers
to upgrade. Must never know: requests and responses.

JDK clients offer HTTP/2 with every request (`Upgrade: h2c`). A server may pass over the offer (RFC 9110 section 7.8),
but the parser then drops the body as the other protocol's, so the offer is blotted out before it is parsed.
"""

from __future__ import annotations

import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from renga import ids
from renga.errors import InvalidRequest
from renga.wire.errors import encode_error

MAX_HEAD_BYTES = 64 * 1024
"""Source: the limit that h11 and most servers have; the parser itself has none."""

_UPGRADE = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)
_NOT_UPGRADE = b"\r\nx-ignor"
_STATUS_LINES = {400: b"400 Bad Request", 431: b"431 Request Header Fields Too Large"}


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _is_in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            end = data.find(b"\r\n\r\n")
            head = data if end < 0 else data[:end]
            self._head_bytes += len(head)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.")
                return
            if b"pgrade" in head:
                data = _UPGRADE.sub(_NOT_UPGRADE, head) + data[len(head) :]
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is not an HTTP request.")

    def _refuse(self, status: int, message: str) -> None:
        request_id = ids.request_id()
        body = encode_error(InvalidRequest(message), request_id)
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nrequest-id: %s\r\n" % (
            _STATUS_LINES[status],
            len(body),
            request_id.encode("ascii"),
        )
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()
