"""Time and money: forecasts, limits and bills, the queue's order, sweeps and templates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, and the columns of jobs."""
    _add_job_columns()
    _create_store_settings()
    _create_forecasts()
    _create_sweeps()
    _create_job_templates()
    _create_money()
    _create_network_volumes()
    _create_cached_models()


def downgrade() -> None:
    """Drop them."""
    for table in (
        "cached_models",
        "network_volumes",
        "machine_bills",
        "spending_overrides",
        "money_notices",
        "job_templates",
        "sweeps",
        "forecasts",
        "store_settings",
    ):
        op.drop_table(table)
    op.drop_index("ix_training_jobs_sweep_id", "training_jobs")
    for column in ("sweep_id", "waits_for_turn", "queue_place"):
        op.drop_column("training_jobs", column)


def _add_job_columns() -> None:
    waits = sa.Column("waits_for_turn", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("training_jobs", sa.Column("queue_place", sa.Double))
    op.add_column("training_jobs", waits)
    op.add_column("training_jobs", sa.Column("sweep_id", sa.String(63)))
    op.create_index("ix_training_jobs_sweep_id", "training_jobs", ["sweep_id"])


def _create_store_settings() -> None:
    op.create_table(
        "store_settings",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_store_settings"),
    )


def _create_forecasts() -> None:
    owner = sa.ForeignKey(
        "training_jobs.id", ondelete="CASCADE", name="fk_forecasts_training_job_id"
    )
    op.create_table(
        "forecasts",
        sa.Column("training_job_id", sa.String(63), owner, nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("forecast", sa.JSON, nullable=False),
        sa.Column("actual", sa.JSON),
        sa.PrimaryKeyConstraint("training_job_id", name="pk_forecasts"),
    )


def _create_sweeps() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("budget_usd", sa.Double),
        sa.Column("caps_usd", sa.JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sweeps"),
    )


def _create_job_templates() -> None:
    op.create_table(
        "job_templates",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_job_templates"),
    )


def _create_money() -> None:
    op.create_table(
        "money_notices",
        sa.Column("scope", sa.String(10), nullable=False),
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", "share", name="pk_money_notices"),
    )
    op.create_table(
        "spending_overrides",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("training_job_id", sa.String(63), nullable=False),
        sa.Column("limit_usd", sa.Double, nullable=False),
        sa.Column("expected_usd", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_spending_overrides"),
    )
    op.create_index("ix_spending_overrides_month", "spending_overrides", ["month"])
    op.create_table(
        "machine_bills",
        sa.Column("machine_name", sa.String(120), nullable=False),
        sa.Column("billed_usd", sa.Double),
        sa.Column("asked_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("machine_name", name="pk_machine_bills"),
    )


def _create_network_volumes() -> None:
    op.create_table(
        "network_volumes",
        sa.Column("provider", sa.String(20), nullable=False),
        sa.Column("volume_id", sa.String(120), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size_gb", sa.Integer, nullable=False),
        sa.Column("data_center", sa.String(40), nullable=False),
        sa.Column("usd_per_month", sa.Double),
        sa.Column("first_seen_at", _MOMENT, nullable=False),
        sa.Column("last_seen_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("provider", "volume_id", name="pk_network_volumes"),
    )


def _create_cached_models() -> None:
    op.create_table(
        "cached_models",
        sa.Column("volume_id", sa.String(120), nullable=False),
        sa.Column("base_model", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("volume_id", "base_model", "revision", name="pk_cached_models"),
    )
