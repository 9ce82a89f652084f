"""Makes the tables of message batches and their workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Bring a database of the version before up to this one."""
    op.add_column("ledger", sa.Column("service_tier", sa.String()))
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed_us", sa.BigInteger()),
        sa.Column("cancel_initiated_us", sa.BigInteger()),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("archived_us", sa.BigInteger()),
        sa.Column("deleted_us", sa.BigInteger()),
        sa.Column("request_count", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer()),
        sa.Column("errored", sa.Integer()),
        sa.Column("canceled", sa.Integer()),
        sa.Column("expired", sa.Integer()),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batches"),
    )
    op.create_index("ix_batches_key_id_created_us", "batches", ["key_id", "created_us"])
    op.create_index("ix_batches_ended_us", "batches", ["ended_us"])
    op.create_table(
        "batch_requests",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("custom_id", sa.String(), nullable=False),
        sa.Column("prefix_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("params", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.String()),
        sa.Column("result", sa.LargeBinary()),
        sa.Column("ended_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("batch_id", "position", name="pk_batch_requests"),
    )
    op.create_index(
        "ix_batch_requests_batch_id_prefix_sha256", "batch_requests", ["batch_id", "prefix_sha256", "position"]
    )
    op.create_index("ix_batch_requests_batch_id_outcome", "batch_requests", ["batch_id", "outcome"])
    op.create_table(
        "batch_workers",
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_batch_workers"),
    )
