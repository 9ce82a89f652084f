from __future__ import annotations

from renga.engine.client import EngineClient
from renga.engine.models import Model
from renga.engine.protocol import Generation


async def test_answers(client: EngineClient, model: Model) -> None:
    info = await client.wait_ready()
    prompt = model.vocabulary.encode("Once upon a time", parse_special=False)
    batches = [batch async for batch in client.generate(Generation(prompt, max_tokens=20))]
    token_ids = [token_id for batch in batches for token_id in batch.token_ids]
    assert batches[-1].finish in ("length", "stop")
    assert len(token_ids) == 20
    print(info, model.vocabulary.decode(token_ids))
