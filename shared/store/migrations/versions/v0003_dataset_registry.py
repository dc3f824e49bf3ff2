"""What a check found in a training file, kept beside its counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = {
    "shape": sa.Text,
    "targets": sa.Integer,
    "longest_tokens": sa.BigInteger,
    "base_model": sa.Text,
    "tokens_are_estimated": sa.Boolean,
    "finding_counts": sa.JSON,
    "merged_from": sa.JSON,
    "report": sa.JSON,
}


def upgrade() -> None:
    """Add the columns; files that were checked before have nulls there."""
    for name, kind in _COLUMNS.items():
        op.add_column("training_files", sa.Column(name, kind()))


def downgrade() -> None:
    """Drop them."""
    for name in reversed(_COLUMNS):
        op.drop_column("training_files", name)
