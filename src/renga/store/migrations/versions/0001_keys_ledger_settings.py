"""Makes the tables of keys, of the ledger and of settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Bring a database of the version before up to this one."""
    op.create_table(
        "keys",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("last_used_us", sa.BigInteger()),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("key_id", name="pk_keys"),
        sa.UniqueConstraint("secret_sha256", name="uq_keys_secret_sha256"),
    )
    op.create_table(
        "ledger",
        sa.Column(
            "row_number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("surface", sa.String(), nullable=False),
        sa.Column("requested_model", sa.String(), nullable=False),
        sa.Column("target", sa.String()),
        sa.Column("tier", sa.String()),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("attempts", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error_type", sa.String()),
        sa.Column("stop_reason", sa.String()),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_creation_5m_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_creation_1h_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("thinking_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger()),
        sa.Column("price_source", sa.String()),
        sa.Column("overhead_us", sa.BigInteger(), nullable=False),
        sa.Column("first_event_us", sa.BigInteger()),
        sa.Column("total_us", sa.BigInteger(), nullable=False),
        sa.Column("mean_logprob", sa.Float()),
        sa.Column("streamed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("row_number", name="pk_ledger"),
        sa.UniqueConstraint("request_id", name="uq_ledger_request_id"),
    )
    op.create_index("ix_ledger_time_us", "ledger", ["time_us"])
    settings = op.create_table(
        "settings",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger()),
        sa.Column("secret", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    op.bulk_insert(settings, [{"name": "keys_generation", "number": 0, "secret": None}])
