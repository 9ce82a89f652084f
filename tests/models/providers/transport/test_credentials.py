"""Upstream keys come from the environment or a file, and from nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from renga.config import ProviderSettings, load_config
from renga.errors import ConfigError
from renga.models.providers.transport.credentials import place_of_key, read_key

SETTINGS = ProviderSettings(kind="anthropic", base_url="https://api.example")
KEY = "sk-upstream-4711"


def test_a_key_from_the_environment() -> None:
    settings = replace(SETTINGS, api_key_env="UPSTREAM_KEY")
    assert read_key("up", settings, {"UPSTREAM_KEY": KEY}) == KEY
    assert read_key("up", settings, {"UPSTREAM_KEY": ""}) is None
    assert read_key("up", settings, {}) is None
    assert read_key("up", SETTINGS, {"UPSTREAM_KEY": KEY}) is None
    assert place_of_key(settings) == "UPSTREAM_KEY"


def test_a_key_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    settings = replace(SETTINGS, api_key_file=str(file))
    with pytest.raises(ConfigError, match=r"cannot read .*key"):
        read_key("up", settings, {})
    file.write_text(f"{KEY}\n")
    assert read_key("up", settings, {}) == KEY
    assert place_of_key(settings) == str(file)


@pytest.mark.parametrize("content", [b"", b" \n", b"sk-one\nsk-two\n", b"sk-\xff\xfe"])
def test_a_file_that_is_no_key_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_key("up", replace(SETTINGS, api_key_file=str(file)), {})
    assert "providers.up.api_key_file" in refused.value.sentence()
    assert "sk-" not in refused.value.sentence()


def test_a_key_has_one_place(tmp_path: Path) -> None:
    file = tmp_path / "renga.toml"
    file.write_text(
        '[providers.up]\nkind = "anthropic"\nbase_url = "https://api.example"\n'
        'api_key_env = "UPSTREAM_KEY"\napi_key_file = "/run/secrets/key"\n'
    )
    with pytest.raises(ConfigError, match="one place"):
        load_config(file, {})
