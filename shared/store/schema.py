"""The tables, in types that SQLite and PostgreSQL share.

Names follow the web application; numbers are double precision, because its NUMERIC columns
overflow (epoch 100) or round to 0 (learning rate 4e-9). Changing a table means a new module in
`migrations/versions` and a new `HEAD_REVISION`; a test holds the three together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

from shared.lifecycle import JobStatus

HEAD_REVISION = "0006"
"""The newest migration. A database that says so is opened without importing Alembic."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment; stored in UTC, since SQLite keeps no offset."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _job_column() -> Column[Any]:
    owner = ForeignKey("training_jobs.id", ondelete="CASCADE")
    return Column("training_job_id", String(63), owner, nullable=False)


_ALLOWED_STATUSES = ", ".join(f"'{status}'" for status in JobStatus)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

training_files = Table(
    "training_files",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("conversations", Integer, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("trained_targets", Integer, nullable=False),
    Column("tokens", BigInteger),
    Column("errors", Integer, nullable=False),
    Column("warnings", Integer, nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
    # Null in rows that were written before there were these columns.
    Column("shape", Text),
    Column("targets", Integer),
    Column("longest_tokens", BigInteger),
    Column("base_model", Text),
    Column("tokens_are_estimated", Boolean),
    Column("finding_counts", JSON(none_as_null=True)),
    # Null for a file that is no merged set.
    Column("merged_from", JSON(none_as_null=True)),
    # Some 100 kB: read only where it is asked for.
    Column("report", JSON(none_as_null=True)),
)

training_jobs = Table(
    "training_jobs",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("host", Text, nullable=False),
    Column("retry_of", String(63)),
    Column("spec", JSON, nullable=False),
    # The folded JobState; the columns below repeat what queries and other readers need of it.
    Column("state", JSON, nullable=False),
    Column("cursor_attempt", Integer, nullable=False),
    Column("cursor_seq", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("activity", String(40)),
    Column("stop_reason", String(40)),
    Column("error_message", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    # Smaller is earlier; null stands for the moment of creation, in seconds since 1970.
    Column("queue_place", Double),
    # True while it waits for its turn on a host of the user's own, which has not heard of it.
    Column("waits_for_turn", Boolean, nullable=False, server_default=false()),
    Column("sweep_id", String(63)),
    # The user of the web application for whom it runs; null for whoever this console signs in as.
    Column("created_by", String(36)),
    # The row of the web application's `training_files` that it was started with; null for a file
    # of this machine.
    Column("training_file_id", String(36)),
    CheckConstraint(f"status IN ({_ALLOWED_STATUSES})", name="status"),
    Index("ix_training_jobs_status", "status"),
    Index("ix_training_jobs_created_at", "created_at"),
    Index("ix_training_jobs_sweep_id", "sweep_id"),
)

job_events = Table(
    "job_events",
    metadata,
    _job_column(),
    Column("attempt", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("trainer_offset", BigInteger, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("body", JSON, nullable=False),
    PrimaryKeyConstraint("training_job_id", "attempt", "seq"),
)

training_metrics_history = Table(
    "training_metrics_history",
    metadata,
    _job_column(),
    Column("attempt", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("epoch", Double, nullable=False),
    # Null where the number was not finite, and on a row that holds only an evaluation.
    Column("loss", Double),
    Column("grad_norm", Double),
    Column("learning_rate", Double),
    # Null on a row that holds only an evaluation.
    Column("tokens", BigInteger),
    Column("supervised_tokens", BigInteger),
    Column("step_s", Double),
    Column("memory_bytes", BigInteger),
    Column("eval_loss", Double),
    Column("eval_supervised_tokens", BigInteger),
    PrimaryKeyConstraint("training_job_id", "attempt", "step"),
)

model_artifacts = Table(
    "model_artifacts",
    metadata,
    _job_column(),
    Column("attempt", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("base_model", Text, nullable=False),
    Column("base_model_revision", Text),
    Column("lora_config", JSON, nullable=False),
    Column("eval_loss", Double),
    Column("perplexity", Double),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("training_job_id", "attempt"),
)

hosts = Table(
    "hosts",
    metadata,
    Column("name", Text, primary_key=True),
    # Null until the host was reached for the first time.
    Column("agent_version", Text),
    Column("agent_id", Text),
    Column("agent_started_at", UtcDateTime),
    Column("root", Text),
    Column("facts", JSON(none_as_null=True)),
    Column("last_contact_at", UtcDateTime),
    # The latest failure; it stays when the host is reached again.
    Column("last_error", Text),
    Column("last_error_at", UtcDateTime),
    # The first failure since the last contact; null while the host is reached.
    Column("unreachable_since", UtcDateTime),
)

store_marks = Table(
    "store_marks",
    metadata,
    # One row: what the names of this store's rented machines begin with.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("mark", String(16), nullable=False),
)

rentals = Table(
    "rentals",
    metadata,
    _job_column(),
    Column("request", JSON, nullable=False),
    Column("rental", JSON, nullable=False),
    Column("phase", String(20), nullable=False),
    Column("version", Integer, nullable=False),
    # Written by anybody, read by whoever leads.
    Column("wish", String(20), nullable=False),
    Column("wish_reason", Text, nullable=False),
    Column("answer", Text, nullable=False),
    PrimaryKeyConstraint("training_job_id"),
    Index("ix_rentals_phase", "phase"),
)

machines = Table(
    "machines",
    metadata,
    Column("name", String(120), primary_key=True),
    # No foreign key: whoever removes a job must not lose sight of what is paid for.
    Column("training_job_id", String(63), nullable=False),
    Column("provider", String(20), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("number", Integer, nullable=False),
    Column("label", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("machine_id", String(120)),
    Column("usd_per_hour", Double, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("rented_at", UtcDateTime),
    Column("ending_at", UtcDateTime),
    Column("gone_at", UtcDateTime),
    Column("data_center", String(40)),
    Column("end_reason", Text, nullable=False),
    Column("absences", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Index("ix_machines_training_job_id", "training_job_id"),
    Index("ix_machines_state", "state"),
)

rental_ledger = Table(
    "rental_ledger",
    metadata,
    _job_column(),
    Column("seq", Integer, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("level", String(10), nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("training_job_id", "seq"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("owner", String(40), nullable=False),
    Column("label", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

store_settings = Table(
    "store_settings",
    metadata,
    # What every console and `serve` of this store has to agree on.
    Column("name", String(40), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

forecasts = Table(
    "forecasts",
    metadata,
    _job_column(),
    Column("made_at", UtcDateTime, nullable=False),
    Column("forecast", JSON, nullable=False),
    # Null until the job has ended.
    Column("actual", JSON(none_as_null=True)),
    PrimaryKeyConstraint("training_job_id"),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("definition", JSON, nullable=False),
    # Of all its jobs together; null on machines that nobody pays for by the hour.
    Column("budget_usd", Double),
    # Job id -> the share of the budget that it was given when it began.
    Column("caps_usd", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

job_templates = Table(
    "job_templates",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

money_notices = Table(
    "money_notices",
    metadata,
    # `job` and `projected` with a job's id, `month` with 2026-11: each share is told once.
    Column("scope", String(10), nullable=False),
    Column("key", String(63), nullable=False),
    Column("share", Double, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("scope", "key", "share"),
)

spending_overrides = Table(
    "spending_overrides",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", UtcDateTime, nullable=False),
    Column("month", String(7), nullable=False),
    # No foreign key: the record of who spent beyond a limit outlives the job.
    Column("training_job_id", String(63), nullable=False),
    Column("limit_usd", Double, nullable=False),
    Column("expected_usd", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_spending_overrides_month", "month"),
)

machine_bills = Table(
    "machine_bills",
    metadata,
    # Of a row in `machines`; what the provider has put on its bill, null while it says nothing.
    Column("machine_name", String(120), primary_key=True),
    Column("billed_usd", Double),
    Column("asked_at", UtcDateTime, nullable=False),
)

network_volumes = Table(
    "network_volumes",
    metadata,
    # Those that our jobs were given: their price runs on with or without a machine.
    Column("provider", String(20), nullable=False),
    Column("volume_id", String(120), nullable=False),
    Column("name", Text, nullable=False),
    Column("size_gb", Integer, nullable=False),
    Column("data_center", String(40), nullable=False),
    Column("usd_per_month", Double),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("provider", "volume_id"),
)

cached_models = Table(
    "cached_models",
    metadata,
    # Base models that lie quantised on a network volume, as our jobs have found them.
    Column("volume_id", String(120), nullable=False),
    Column("base_model", String(200), nullable=False),
    # A commit of the hub.
    Column("revision", String(80), nullable=False),
    Column("size_bytes", BigInteger),
    Column("seen_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("volume_id", "base_model", "revision"),
)

mirror_progress = Table(
    "mirror_progress",
    metadata,
    # How far Supabase has a job; what lies beyond is read from the tables above when it is sent.
    _job_column(),
    # Project and schema it was sent to: another one has nothing of it.
    Column("target", Text, nullable=False),
    # `updated_at` of the job as it was sent; null until it was.
    Column("job_updated_at", UtcDateTime),
    Column("metrics_attempt", Integer, nullable=False),
    Column("metrics_seq", Integer, nullable=False),
    # SHA-256 of the rows of its artifacts as they were sent; "" until any was.
    Column("artifacts_digest", String(64), nullable=False),
    # Of the latest picture that was taken of the job to be sent: never earlier than one before,
    # whatever the clock does.
    Column("as_of", UtcDateTime),
    # A `MirrorFailure`, or "".
    Column("failure", String(20), nullable=False),
    Column("error", Text, nullable=False),
    Column("failing_since", UtcDateTime),
    PrimaryKeyConstraint("training_job_id"),
)

uploads = Table(
    "uploads",
    metadata,
    # One file on its way to Supabase Storage, or there. Its upload token is never written down.
    Column("object_name", String(300), primary_key=True),
    _job_column(),
    # Project and schema it goes to: another one has nothing of it.
    Column("target", Text, nullable=False),
    # `agent:` and a path in the agent's list of artifacts, or a path on the console's machine.
    Column("source", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # lora_adapter, checkpoint, merged_model, or file for what goes along.
    Column("artifact_type", String(20), nullable=False),
    Column("file_name", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content_type", String(100), nullable=False),
    # waiting, uploading, uploaded (not read back yet), verified, refused, removed
    Column("state", String(20), nullable=False),
    Column("sent_bytes", BigInteger, nullable=False),
    # Of late, while it is under way; null where nobody knows.
    Column("bytes_per_s", Double),
    Column("error", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_uploads_training_job_id", "training_job_id"),
    Index("ix_uploads_state", "state"),
)

model_versions = Table(
    "model_versions",
    metadata,
    # The record of a version outlives its files and its job: no foreign key.
    Column("id", String(36), primary_key=True),
    Column("model_name", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("training_job_id", String(63), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    # stored, testing, production, archived
    Column("deployment_status", String(20), nullable=False),
    # What the version was, for when its job is gone; a JSON object of figures and settings.
    Column("facts", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Null while its files are kept.
    Column("deleted_at", UtcDateTime),
    Index("ix_model_versions_name_version", "model_name", "version", unique=True),
    Index("ix_model_versions_job_attempt", "training_job_id", "attempt", unique=True),
)

deployment_changes = Table(
    "deployment_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model_version_id", String(36), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("from_status", String(20), nullable=False),
    # The status, or `deleted`.
    Column("to_status", String(20), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_deployment_changes_model_version_id", "model_version_id"),
)

webhook_targets = Table(
    "webhook_targets",
    metadata,
    # Where a job's webhooks go. The secret that signs them stays in the environment.
    _job_column(),
    Column("url", Text, nullable=False),
    Column("interval_steps", Integer),
    Column("allow_private", Boolean, nullable=False),
    # Who delivers now: console, agent, or nobody, once everything is settled.
    Column("sender", String(20), nullable=False),
    PrimaryKeyConstraint("training_job_id"),
)

webhook_messages = Table(
    "webhook_messages",
    metadata,
    # What a pod had not delivered when it ended, and what only the controller can say.
    Column("id", String(80), primary_key=True),
    _job_column(),
    # Of the job; messages go out in this order.
    Column("place", Integer, nullable=False),
    # The very bytes that are signed.
    Column("body", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # waiting, delivered, given_up, gone, handed_over (to the agent)
    Column("state", String(20), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_try_at", UtcDateTime),
    Column("error", Text, nullable=False),
    Index("ix_webhook_messages_job_place", "training_job_id", "place", unique=True),
    Index("ix_webhook_messages_state", "state"),
)

received_webhooks = Table(
    "received_webhooks",
    metadata,
    # Ids of webhooks that were taken: a second delivery is answered like the first.
    Column("id", String(120), primary_key=True),
    Column("received_at", UtcDateTime, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("name", String(100), primary_key=True),
    # SHA-256 of a token of 256 random bits; the token itself is shown once.
    Column("token_sha256", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    # The user of the web application who sees only their own jobs with it; null for a service.
    Column("user_id", String(36)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
    Index("ix_api_tokens_token_sha256", "token_sha256", unique=True),
)

notifications = Table(
    "notifications",
    metadata,
    # One event that a person is told of, once; the id is made of what happened.
    Column("id", String(200), primary_key=True),
    # No foreign key: a month's limit is no job's.
    Column("training_job_id", String(63)),
    Column("kind", String(40), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    # Told in quiet hours too.
    Column("is_urgent", Boolean, nullable=False),
    # waiting, sent, failed, silent (nobody wanted to know)
    Column("state", String(20), nullable=False),
    # Of the receivers that have it: beginnings of the hashes of their addresses.
    Column("sent_to", JSON, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_try_at", UtcDateTime),
    Column("error", Text, nullable=False),
    Index("ix_notifications_state", "state"),
    Index("ix_notifications_time", "time"),
)

web_training_files = Table(
    "web_training_files",
    metadata,
    # Rows of Supabase's `training_files` whose bytes we have, or have registered.
    Column("id", String(36), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("fetched_at", UtcDateTime, nullable=False),
    Index("ix_web_training_files_sha256", "sha256"),
)
