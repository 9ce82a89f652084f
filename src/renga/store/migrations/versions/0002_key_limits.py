"""Gives each key a column for limits of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bring a database of the version before up to this one."""
    op.add_column("keys", sa.Column("limits", sa.JSON()))
