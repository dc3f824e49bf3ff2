"""Rented machines: what jobs ask for, what was rented, what was done, and who may do it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _create_store_marks()
    _create_rentals()
    _create_machines()
    _create_rental_ledger()
    _create_leases()


def downgrade() -> None:
    """Drop them."""
    for table in ("leases", "rental_ledger", "machines", "rentals", "store_marks"):
        op.drop_table(table)


def _job_column(table: str) -> sa.Column[str]:
    owner = sa.ForeignKey(
        "training_jobs.id", ondelete="CASCADE", name=f"fk_{table}_training_job_id"
    )
    return sa.Column("training_job_id", sa.String(63), owner, nullable=False)


def _create_store_marks() -> None:
    op.create_table(
        "store_marks",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("mark", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_store_marks"),
    )


def _create_rentals() -> None:
    op.create_table(
        "rentals",
        _job_column("rentals"),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("rental", sa.JSON, nullable=False),
        sa.Column("phase", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("wish", sa.String(20), nullable=False),
        sa.Column("wish_reason", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("training_job_id", name="pk_rentals"),
    )
    op.create_index("ix_rentals_phase", "rentals", ["phase"])


def _create_machines() -> None:
    op.create_table(
        "machines",
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("training_job_id", sa.String(63), nullable=False),
        sa.Column("provider", sa.String(20), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("machine_id", sa.String(120)),
        sa.Column("usd_per_hour", sa.Double, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("rented_at", _MOMENT),
        sa.Column("ending_at", _MOMENT),
        sa.Column("gone_at", _MOMENT),
        sa.Column("data_center", sa.String(40)),
        sa.Column("end_reason", sa.Text, nullable=False),
        sa.Column("absences", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_machines"),
    )
    op.create_index("ix_machines_training_job_id", "machines", ["training_job_id"])
    op.create_index("ix_machines_state", "machines", ["state"])


def _create_rental_ledger() -> None:
    op.create_table(
        "rental_ledger",
        _job_column("rental_ledger"),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("training_job_id", "seq", name="pk_rental_ledger"),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("owner", sa.String(40), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
