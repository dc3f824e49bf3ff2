"""Supabase, webhooks, the web application: mirror, uploads, versions, messages, tokens."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, and the column of jobs."""
    op.add_column("training_jobs", sa.Column("created_by", sa.String(36)))
    op.add_column("training_jobs", sa.Column("training_file_id", sa.String(36)))
    _create_mirror()
    _create_models()
    _create_webhooks()
    _create_web()
    _create_notifications()


def downgrade() -> None:
    """Drop them."""
    for table in (
        "notifications",
        "web_training_files",
        "api_tokens",
        "received_webhooks",
        "webhook_messages",
        "webhook_targets",
        "deployment_changes",
        "model_versions",
        "uploads",
        "mirror_progress",
    ):
        op.drop_table(table)
    op.drop_column("training_jobs", "training_file_id")
    op.drop_column("training_jobs", "created_by")


def _owner(table: str) -> sa.Column[Any]:
    key = sa.ForeignKey("training_jobs.id", ondelete="CASCADE", name=f"fk_{table}_training_job_id")
    return sa.Column("training_job_id", sa.String(63), key, nullable=False)


def _create_mirror() -> None:
    op.create_table(
        "mirror_progress",
        _owner("mirror_progress"),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("job_updated_at", _MOMENT),
        sa.Column("metrics_attempt", sa.Integer, nullable=False),
        sa.Column("metrics_seq", sa.Integer, nullable=False),
        sa.Column("artifacts_digest", sa.String(64), nullable=False),
        sa.Column("as_of", _MOMENT),
        sa.Column("failure", sa.String(20), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("failing_since", _MOMENT),
        sa.PrimaryKeyConstraint("training_job_id", name="pk_mirror_progress"),
    )
    op.create_table(
        "uploads",
        sa.Column("object_name", sa.String(300), nullable=False),
        _owner("uploads"),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("artifact_type", sa.String(20), nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.String(100), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("sent_bytes", sa.BigInteger, nullable=False),
        sa.Column("bytes_per_s", sa.Double),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("object_name", name="pk_uploads"),
    )
    op.create_index("ix_uploads_state", "uploads", ["state"])
    op.create_index("ix_uploads_training_job_id", "uploads", ["training_job_id"])


def _create_models() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("model_name", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("training_job_id", sa.String(63), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=False),
        sa.Column("deployment_status", sa.String(20), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("deleted_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
    )
    op.create_index(
        "ix_model_versions_job_attempt",
        "model_versions",
        ["training_job_id", "attempt"],
        unique=True,
    )
    op.create_index(
        "ix_model_versions_name_version", "model_versions", ["model_name", "version"], unique=True
    )
    op.create_table(
        "deployment_changes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model_version_id", sa.String(36), nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("from_status", sa.String(20), nullable=False),
        sa.Column("to_status", sa.String(20), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployment_changes"),
    )
    op.create_index(
        "ix_deployment_changes_model_version_id", "deployment_changes", ["model_version_id"]
    )


def _create_webhooks() -> None:
    op.create_table(
        "webhook_targets",
        _owner("webhook_targets"),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("interval_steps", sa.Integer),
        sa.Column("allow_private", sa.Boolean, nullable=False),
        sa.Column("sender", sa.String(20), nullable=False),
        sa.PrimaryKeyConstraint("training_job_id", name="pk_webhook_targets"),
    )
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.String(80), nullable=False),
        _owner("webhook_messages"),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_try_at", _MOMENT),
        sa.Column("error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_messages"),
    )
    op.create_index(
        "ix_webhook_messages_job_place",
        "webhook_messages",
        ["training_job_id", "place"],
        unique=True,
    )
    op.create_index("ix_webhook_messages_state", "webhook_messages", ["state"])
    op.create_table(
        "received_webhooks",
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_received_webhooks"),
    )


def _create_web() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("user_id", sa.String(36)),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("last_used_at", _MOMENT),
        sa.PrimaryKeyConstraint("name", name="pk_api_tokens"),
    )
    op.create_index("ix_api_tokens_token_sha256", "api_tokens", ["token_sha256"], unique=True)
    op.create_table(
        "web_training_files",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("fetched_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_web_training_files"),
    )
    op.create_index("ix_web_training_files_sha256", "web_training_files", ["sha256"])


def _create_notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("training_job_id", sa.String(63)),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("is_urgent", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("sent_to", sa.JSON, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_try_at", _MOMENT),
        sa.Column("error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index("ix_notifications_state", "notifications", ["state"])
    op.create_index("ix_notifications_time", "notifications", ["time"])
