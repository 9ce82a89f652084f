"""The tables. A change here needs a migration; a test compares the two.

Only types that SQLite and PostgreSQL share. Times are integers (microseconds since 1970, UTC): they sort, group by day
with one division, and mean the same in both.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

RowNumber = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up by itself only in a column of type INTEGER."""

keys = Table(
    "keys",
    metadata,
    Column("key_id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("hint", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("last_used_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("limits", JSON),
)

ledger = Table(
    "ledger",
    metadata,
    Column("row_number", RowNumber, primary_key=True, autoincrement=True),
    Column("request_id", String, nullable=False, unique=True),
    Column("time_us", BigInteger, nullable=False),
    Column("key_id", String, nullable=False),
    Column("surface", String, nullable=False),
    Column("requested_model", String, nullable=False),
    Column("target", String),
    Column("tier", String),
    Column("why", String, nullable=False),
    Column("attempts", JSON, nullable=False),
    Column("status", String, nullable=False),
    Column("error_type", String),
    Column("stop_reason", String),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cache_creation_5m_tokens", BigInteger, nullable=False),
    Column("cache_creation_1h_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("thinking_tokens", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger),
    Column("price_source", String),
    Column("overhead_us", BigInteger, nullable=False),
    Column("first_event_us", BigInteger),
    Column("total_us", BigInteger, nullable=False),
    Column("mean_logprob", Float),
    Column("streamed", Boolean, nullable=False),
    Index("ix_ledger_time_us", "time_us"),
)
"""Append-only: no statement of this package updates or deletes in it. `key_id` is no foreign key on purpose: a row
outlives its key, and keys of other origins (an in-process command) have none."""

settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("number", BigInteger),
    Column("secret", LargeBinary),
)
"""What an installation remembers about itself: the generation of its keys, its signature secret."""
