"""Makes workspaces and the audit, and gives keys terms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Bring a database of the version before up to this one."""
    op.add_column("keys", sa.Column("workspace_id", sa.String()))
    op.add_column("keys", sa.Column("expires_us", sa.BigInteger()))
    op.add_column("keys", sa.Column("terms", sa.JSON()))
    op.add_column("keys", sa.Column("disabled_us", sa.BigInteger()))
    op.add_column("keys", sa.Column("previous_sha256", sa.LargeBinary()))
    op.add_column("keys", sa.Column("previous_until_us", sa.BigInteger()))
    op.add_column("ledger", sa.Column("workspace_id", sa.String()))
    op.create_table(
        "workspaces",
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("archived_us", sa.BigInteger()),
        sa.Column("limits", sa.JSON()),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_workspaces"),
        sa.UniqueConstraint("name", name="uq_workspaces_name"),
    )
    op.create_table(
        "audit",
        sa.Column(
            "row_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON()),
        sa.PrimaryKeyConstraint("row_number", name="pk_audit"),
    )
    op.create_index("ix_audit_time_us", "audit", ["time_us"])
