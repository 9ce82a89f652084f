"""The migrations make what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from renga.domain.keys import KeyLimits
from renga.store import schema
from renga.store.database import open_database
from renga.store.tables import definitions


def test_the_migrations_lead_to_the_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'renga.db'}"
    open_database(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), definitions.metadata) == []
    engine.dispose()


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.HEAD]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)


def test_a_database_that_is_up_to_date_needs_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'renga.db'}"
    open_database(url).close()
    program = (
        "import sys; from renga.store.database import open_database; open_database(sys.argv[1]).keys.read();"
        "print(any(name.startswith('alembic') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_serving_path_imports_no_sql() -> None:
    program = (
        "import sys, renga.accounting.ledger.request_ledger, renga.accounting.keys.key_ring;"
        "import renga.accounting.pricing.price_book, renga.store.store_thread, renga.store.stored_secret;"
        "import renga.store.database_handle, "
        "renga.services.batches, renga.files.file_service, renga.http.http_services;"
        "print([name for name in ('sqlalchemy', 'alembic', 'genai_prices', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_keys_of_the_first_version_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'renga.db'}"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "HEAD", "0001")
        open_database(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO keys (key_id, name, secret_sha256, hint, created_us) VALUES ('key_1', 'old', x'00', 'abcd', 1)"
        )
    engine.dispose()
    with open_database(url) as database:
        assert database.version() == schema.HEAD
        assert [(key.name, key.limits) for key in database.keys.read()] == [("old", KeyLimits())]
