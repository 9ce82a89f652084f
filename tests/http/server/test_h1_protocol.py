"""What happens before a request is one."""

import asyncio

import msgspec
import pytest

KEY = {"x-api-key": "sk-renga-test"}
UPGRADE = {**KEY, "connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}


@pytest.mark.parametrize(
    "data", [b"GARBAGE\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\nbad header\r\n\r\n", b"\x16\x03\x01\x02"]
)
async def test_what_is_no_request_gets_an_error_in_the_apis_shape(served, data):
    async with await served.connect() as connection:
        await connection.write(data)
        response = await connection.read()
        assert response.status == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert response.json()["request_id"] == response.headers["request-id"]
        assert await connection.read_end() == b""


async def test_an_endless_head_is_refused(served):
    async with await served.connect() as connection:
        await connection.write(b"GET /health HTTP/1.1\r\n")
        for index in range(5):
            await connection.write(b"x-header-%d: " % index + b"x" * 15_000 + b"\r\n")
        assert (await connection.read()).status == 431


async def test_a_large_head_that_ends_is_served_again_and_again(served):
    async with await served.connect() as connection:
        for _ in range(3):
            await connection.send("GET", "/health", {"x-header": "x" * 40_000})
            assert (await connection.read()).status == 200


async def test_offers_of_another_protocol_are_passed_over(served, hello):
    async with await served.connect() as connection:
        for body in (hello, {**hello, "system": "\r\nUpgrade: me"}, hello):
            await connection.send("POST", "/v1/messages", UPGRADE, msgspec.json.encode(body))
            async with asyncio.timeout(30):
                assert (await connection.read()).status == 200
    assert served.provider.calls[1].message.system == "\r\nUpgrade: me"


async def test_a_stream_for_http_1_0_ends_with_its_connection(served, hello):
    """Such a client knows no chunks: their sizes would be part of its answer."""
    body = msgspec.json.encode({**hello, "stream": True})
    head = f"POST /v1/messages HTTP/1.0\r\nx-api-key: {KEY['x-api-key']}\r\ncontent-length: {len(body)}\r\n\r\n"
    async with await served.connect() as connection:
        await connection.write(head.encode() + body)
        async with asyncio.timeout(30):
            answer = await connection.read_end()
    head, _, stream = answer.decode().partition("\r\n\r\n")
    assert "connection: close" in head
    assert "transfer-encoding" not in head
    assert stream.startswith("event: message_start\n")
    assert stream.endswith('data: {"type":"message_stop"}\n\n')


async def test_requests_in_one_write_are_answered_in_order(served):
    async with await served.connect() as connection:
        await connection.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        assert [(await connection.read()).status for _ in range(2)] == [200, 401]
