"""What a start does not load: each of these costs time and memory that most servers never need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LATE = ("dbos", "genai_prices", "numpy", "openvino", "openvino_genai", "psycopg", "pyarrow", "scipy", "valkey")

PROGRAM = """
import asyncio, sys
from pathlib import Path
from renga.app import build
from renga.config import load_config

async def start():
    app = build(load_config(Path(sys.argv[1]), {}))
    await app.start()
    # Now: what policies need is loaded a second later, beside the first answers; the database by its own thread.
    print(*(name for name in sys.argv[2:] if name in sys.modules))
    await app.stop()

asyncio.run(start())
"""


def test_a_start_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    config = tmp_path / "renga.toml"
    config.write_text(
        f'[store]\ndata_dir = "{tmp_path}"\n[engine]\nenabled = false\n[tiers]\nhaiku = ["upstream/m"]\n'
        '[providers.upstream]\nkind = "anthropic"\nbase_url = "http://127.0.0.1:9"\n'
    )
    command = [sys.executable, "-c", PROGRAM, str(config), *LATE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n", f"imported at the start: {done.stdout}"
