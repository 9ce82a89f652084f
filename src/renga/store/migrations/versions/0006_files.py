"""Makes the table of uploaded files, without their bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Bring a database of the version before up to this one."""
    op.create_table(
        "files",
        sa.Column("file_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger()),
        sa.Column("deleted_us", sa.BigInteger()),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("mime_type", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("downloadable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("file_id", name="pk_files"),
    )
    op.create_index("ix_files_key_id_created_us", "files", ["key_id", "created_us"])
    op.create_index("ix_files_workspace_id_created_us", "files", ["workspace_id", "created_us"])
    op.create_index("ix_files_expires_us", "files", ["expires_us"])
    op.create_index("ix_files_content_sha256", "files", ["content_sha256"])
