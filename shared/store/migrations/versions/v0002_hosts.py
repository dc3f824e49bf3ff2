"""The machines that were looked at, and when they were last reached."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "hosts",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("agent_version", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("agent_started_at", _MOMENT),
        sa.Column("root", sa.Text),
        sa.Column("facts", sa.JSON),
        sa.Column("last_contact_at", _MOMENT),
        sa.Column("last_error", sa.Text),
        sa.Column("last_error_at", _MOMENT),
        sa.Column("unreachable_since", _MOMENT),
        sa.PrimaryKeyConstraint("name", name="pk_hosts"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("hosts")
