"""A model that cannot be used is said so: in the log, by `/ready`, and to every request, none of which waits."""

from __future__ import annotations

import pytest

from renga.clock import SystemClock
from renga.config import Config, EngineSettings
from renga.errors import ApiError
from renga.models.providers.local import build_local_provider
from renga.testing.provider_calls import make_call


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nowhere.gguf", "there is no model 'nowhere.gguf'"),
        ("x" * 300, "File name too long"),  # what nobody thought of
    ],
)
async def test_requests_hear_why_there_is_no_model(model: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    provider = build_local_provider(Config(engine=EngineSettings(model=model)), lambda: b"secret", SystemClock())
    await provider.start()
    body: dict[str, object] = {"model": "haiku", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    call = make_call(body, model=provider.pool.default.name)
    try:
        with pytest.raises(ApiError, match="the local engine has no model"):
            await provider.count_tokens(*call.count_arguments())
        assert words in provider.health().detail
        assert words in caplog.text
    finally:
        await provider.stop()
