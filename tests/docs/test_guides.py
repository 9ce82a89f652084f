"""Settings that guides show are settings that load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from renga.config import load_config

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
BLOCKS = [
    pytest.param(block, id=f"{file.stem}-{number}")
    for file in sorted(GUIDES.glob("*.md"))
    for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", file.read_text(), flags=re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_settings_in_guides_load(block: str, tmp_path: Path) -> None:
    file = tmp_path / "renga.toml"
    file.write_text(block)
    load_config(file, {})
