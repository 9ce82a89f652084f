"""Files of a real server with hokku, as the official SDK meets them: messages, counts, batches, a restart."""

from __future__ import annotations

import anthropic
import pytest
from anthropic import Anthropic

from renga.testing.servers.served import ServedSettings, respawned, served, wait_until

TEXT = b"The harbour office opens at seven and closes at four. " * 20


def about(file_id: str) -> list[dict]:
    document = {"type": "document", "source": {"type": "file", "file_id": file_id}}
    return [{"role": "user", "content": [document, {"type": "text", "text": "When does it open?"}]}]


def test_a_local_model_reads_a_file(client: Anthropic) -> None:
    file = client.files.upload(file=("hours.md", TEXT, "text/markdown"))
    turn = [{"role": "user", "content": "When does it open?"}]
    without = client.messages.count_tokens(model="haiku", messages=turn).input_tokens
    counted = client.messages.count_tokens(model="haiku", messages=about(file.id)).input_tokens
    assert counted > without + 100
    message = client.messages.create(model="haiku", max_tokens=8, messages=about(file.id))
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) == counted
    client.files.delete(file.id)
    with pytest.raises(anthropic.NotFoundError, match="was deleted"):
        client.messages.create(model="haiku", max_tokens=8, messages=about(file.id))


def test_a_batch_reads_files_when_it_runs(client: Anthropic) -> None:
    kept, gone = (client.files.upload(file=(name, TEXT, "text/plain")) for name in ("kept.txt", "gone.txt"))
    client.files.delete(gone.id)
    batch = client.messages.batches.create(
        requests=[
            {"custom_id": name, "params": {"model": "haiku", "max_tokens": 4, "messages": about(file.id)}}
            for name, file in (("kept", kept), ("gone", gone))
        ]
    )
    wait_until(lambda: client.messages.batches.retrieve(batch.id).processing_status == "ended")
    results = {each.custom_id: each.result for each in client.messages.batches.results(batch.id)}
    assert results["kept"].type == "succeeded"
    assert results["gone"].type == "errored"
    assert results["gone"].error.error.type == "not_found_error"


def test_kill_9_loses_no_file() -> None:
    config = '[engine]\nenabled = false\n[files]\ndownloadable = true\n[providers.echo]\nkind = "anthropic"\n'
    with served(ServedSettings(config + 'base_url = "http://127.0.0.1:9"\n')) as server:
        with Anthropic(base_url=server.url, api_key=server.secret, max_retries=0) as client:
            sent = [client.files.upload(file=(f"{number}.txt", b"%d" % number * 1000)) for number in range(5)]
            client.files.delete(sent[0].id)
        with respawned(server), Anthropic(base_url=server.url, api_key=server.secret, max_retries=0) as client:
            assert {file.id for file in client.files.list()} == {file.id for file in sent[1:]}
            for number, file in enumerate(sent[1:], 1):
                assert client.files.download(file.id).read() == b"%d" % number * 1000
