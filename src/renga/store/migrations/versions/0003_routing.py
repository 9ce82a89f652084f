"""What the router decided, and what is known of how good answers were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring a database of the version before up to this one."""
    op.add_column("ledger", sa.Column("policy", sa.String()))
    op.add_column("ledger", sa.Column("triage_score", sa.Float()))
    op.add_column("ledger", sa.Column("confidence", sa.Float()))
    op.add_column("ledger", sa.Column("check_cost_nano_usd", sa.BigInteger()))
    op.add_column("ledger", sa.Column("kept", sa.Boolean()))
    op.add_column("ledger", sa.Column("escalated_because", sa.String()))
    op.add_column("ledger", sa.Column("message_id", sa.String()))
    op.create_index("ix_ledger_message_id", "ledger", ["message_id"])
    op.create_table(
        "outcomes",
        sa.Column(
            "row_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("label", sa.String()),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("costs_nano_usd", sa.JSON(), nullable=False),
        sa.Column("check_nano_usd", sa.BigInteger()),
        sa.Column("second_nano_usd", sa.BigInteger()),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("propensity", sa.Float()),
        sa.Column("certificate", sa.String()),
        sa.PrimaryKeyConstraint("row_number", name="pk_outcomes"),
    )
    op.create_index("ix_outcomes_time_us", "outcomes", ["time_us"])
    op.create_index("uq_outcomes_request_id_source", "outcomes", ["request_id", "source"], unique=True)
