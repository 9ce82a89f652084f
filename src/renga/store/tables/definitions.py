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
    Column("workspace_id", String),
    Column("expires_us", BigInteger),
    Column("terms", JSON),
    Column("disabled_us", BigInteger),
    Column("previous_sha256", LargeBinary),
    Column("previous_until_us", BigInteger),
)
"""`terms`: scopes, tiers and policies of a key, as `KeyTerms`. `previous_sha256`: of the secret before a rotation."""

workspaces = Table(
    "workspaces",
    metadata,
    Column("workspace_id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("created_us", BigInteger, nullable=False),
    Column("archived_us", BigInteger),
    Column("limits", JSON),
)

audit = Table(
    "audit",
    metadata,
    Column("row_number", RowNumber, primary_key=True, autoincrement=True),
    Column("time_us", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("detail", JSON),
    Index("ix_audit_time_us", "time_us"),
)
"""Append-only: who changed what. Never a secret, never a prompt."""

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
    Column("workspace_id", String),
    Column("service_tier", String),
    Column("policy", String),
    Column("triage_score", Float),
    Column("confidence", Float),
    Column("check_cost_nano_usd", BigInteger),
    Column("kept", Boolean),
    Column("escalated_because", String),
    Column("message_id", String),
    Index("ix_ledger_time_us", "time_us"),
    Index("ix_ledger_message_id", "message_id"),
)
"""Append-only: no statement of this package updates or deletes in it. `key_id` is no foreign key on purpose: a row
outlives its key, and keys of other origins (an in-process command) have none."""

outcomes = Table(
    "outcomes",
    metadata,
    Column("row_number", RowNumber, primary_key=True, autoincrement=True),
    Column("time_us", BigInteger, nullable=False),
    Column("request_id", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("policy", String, nullable=False),
    Column("source", String, nullable=False),
    Column("label", String),
    Column("scores", JSON, nullable=False),
    Column("costs_nano_usd", JSON, nullable=False),
    Column("check_nano_usd", BigInteger),
    Column("second_nano_usd", BigInteger),
    Column("evidence", JSON, nullable=False),
    Column("propensity", Float),
    Column("certificate", String),
    Index("ix_outcomes_time_us", "time_us"),
    Index("uq_outcomes_request_id_source", "request_id", "source", unique=True),
)
"""What is known of how good answers were: from shadow traffic (drawn with `propensity`) and from feedback (NULL)."""

batches = Table(
    "batches",
    metadata,
    Column("batch_id", String, primary_key=True),
    Column("key_id", String, nullable=False),
    Column("workspace_id", String),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("sealed_us", BigInteger),
    Column("cancel_initiated_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("archived_us", BigInteger),
    Column("deleted_us", BigInteger),
    Column("request_count", Integer, nullable=False),
    Column("succeeded", Integer),
    Column("errored", Integer),
    Column("canceled", Integer),
    Column("expired", Integer),
    Column("terms", JSON, nullable=False),
    Index("ix_batches_key_id_created_us", "key_id", "created_us"),
    Index("ix_batches_ended_us", "ended_us"),
)
"""`sealed_us`: NULL while its requests come in, and nobody sees it then. The counts are NULL until it has ended."""

batch_requests = Table(
    "batch_requests",
    metadata,
    Column("batch_id", String, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("custom_id", String, nullable=False),
    Column("prefix_sha256", LargeBinary, nullable=False),
    Column("params", LargeBinary, nullable=False),
    Column("outcome", String),
    Column("result", LargeBinary),
    Column("ended_us", BigInteger),
    Index("ix_batch_requests_batch_id_prefix_sha256", "batch_id", "prefix_sha256", "position"),
    Index("ix_batch_requests_batch_id_outcome", "batch_id", "outcome"),
)
"""`outcome`: succeeded, errored, canceled or expired; NULL until it is known. Written once, and `params` emptied with
it. `prefix_sha256`: hashes of what the request begins with, so that in this order equal prefixes are neighbours."""

batch_workers = Table(
    "batch_workers",
    metadata,
    Column("worker_id", String, primary_key=True),
    Column("seen_us", BigInteger, nullable=False),
)
"""Processes that run batches. One that has not been seen for a while is dead, and others take over what it ran."""

files = Table(
    "files",
    metadata,
    Column("file_id", String, primary_key=True),
    Column("key_id", String, nullable=False),
    Column("workspace_id", String),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("deleted_us", BigInteger),
    Column("filename", String, nullable=False),
    Column("mime_type", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("downloadable", Boolean, nullable=False),
    Index("ix_files_key_id_created_us", "key_id", "created_us"),
    Index("ix_files_workspace_id_created_us", "workspace_id", "created_us"),
    Index("ix_files_expires_us", "expires_us"),
    Index("ix_files_content_sha256", "content_sha256"),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("number", BigInteger),
    Column("secret", LargeBinary),
)
"""What an installation remembers about itself: the generation of its keys, its signature secret."""
