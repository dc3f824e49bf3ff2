"""The first tables. Spelled out, not taken from `schema`, which moves on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the five tables."""
    _create_training_files()
    _create_training_jobs()
    _create_job_events()
    _create_training_metrics_history()
    _create_model_artifacts()


def downgrade() -> None:
    """Drop them, children first."""
    for table in (
        "model_artifacts",
        "training_metrics_history",
        "job_events",
        "training_jobs",
        "training_files",
    ):
        op.drop_table(table)


def _job_column(table: str) -> sa.Column[str]:
    owner = sa.ForeignKey(
        "training_jobs.id", ondelete="CASCADE", name=f"fk_{table}_training_job_id"
    )
    return sa.Column("training_job_id", sa.String(63), owner, nullable=False)


def _create_training_files() -> None:
    op.create_table(
        "training_files",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("conversations", sa.Integer, nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("trained_targets", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("errors", sa.Integer, nullable=False),
        sa.Column("warnings", sa.Integer, nullable=False),
        sa.Column("checked_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_training_files"),
    )


def _create_training_jobs() -> None:
    op.create_table(
        "training_jobs",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("retry_of", sa.String(63)),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("cursor_attempt", sa.Integer, nullable=False),
        sa.Column("cursor_seq", sa.Integer, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("activity", sa.String(40)),
        sa.Column("stop_reason", sa.String(40)),
        sa.Column("error_message", sa.Text),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT),
        sa.Column("completed_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_training_jobs"),
        sa.CheckConstraint(
            "status IN ('queued', 'preprocessing', 'model_loaded', 'training', "
            "'completed', 'failed', 'cancelled')",
            name="ck_training_jobs_status",
        ),
    )
    op.create_index("ix_training_jobs_status", "training_jobs", ["status"])
    op.create_index("ix_training_jobs_created_at", "training_jobs", ["created_at"])


def _create_job_events() -> None:
    op.create_table(
        "job_events",
        _job_column("job_events"),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("trainer_offset", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("training_job_id", "attempt", "seq", name="pk_job_events"),
    )


def _create_training_metrics_history() -> None:
    op.create_table(
        "training_metrics_history",
        _job_column("training_metrics_history"),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("epoch", sa.Double, nullable=False),
        sa.Column("loss", sa.Double),
        sa.Column("grad_norm", sa.Double),
        sa.Column("learning_rate", sa.Double),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("supervised_tokens", sa.BigInteger),
        sa.Column("step_s", sa.Double),
        sa.Column("memory_bytes", sa.BigInteger),
        sa.Column("eval_loss", sa.Double),
        sa.Column("eval_supervised_tokens", sa.BigInteger),
        sa.PrimaryKeyConstraint(
            "training_job_id", "attempt", "step", name="pk_training_metrics_history"
        ),
    )


def _create_model_artifacts() -> None:
    op.create_table(
        "model_artifacts",
        _job_column("model_artifacts"),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("base_model", sa.Text, nullable=False),
        sa.Column("base_model_revision", sa.Text),
        sa.Column("lora_config", sa.JSON, nullable=False),
        sa.Column("eval_loss", sa.Double),
        sa.Column("perplexity", sa.Double),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("training_job_id", "attempt", name="pk_model_artifacts"),
    )
