"""The figures of a job as names and values, from values alone."""

from __future__ import annotations

from datetime import datetime

from shared.clean_text import clean_line
from shared.events import perplexity_of
from shared.job_options import unusual_options
from shared.job_state import JobState
from shared.number_text import date_and_clock, duration, loss, number, size, usd
from shared.store.stored import StoredJob
from tui.services.hosts.names import LOCAL, shown_host
from tui.services.rental_watch import RentalSight
from tui.views.job_history import JobHistory
from tui.views.model_progress_lines import model_progress_pairs
from tui.views.money_lines import money_of_sight

Pairs = list[tuple[str, str]]

_ALWAYS_SHOWN = ("cut_targets", "over_long", "optim", "max_restarts", "dry_run")
"""Options of the job that have a line of their own; others only where they are not as usual."""


def figures(
    job: StoredJob,
    memory_bytes: int | None,
    rented: RentalSight | None = None,
    now: datetime | None = None,
) -> Pairs:
    """What is measured now, most wanted first; `rented` is how its rented machine stands."""
    state = job.state
    return [
        *model_progress_pairs(state),
        ("loss", loss(state.loss)),
        ("first loss", loss(state.first_loss)),
        ("held out", loss(state.eval_loss)),
        ("base model", loss(state.base_eval_loss)),
        ("perplexity", number(perplexity_of(state.eval_loss), ",.2f")),
        ("learning rate", number(state.learning_rate, ".2e")),
        ("grad norm", number(state.grad_norm, ".3g")),
        ("tokens/s", number(state.tokens_per_s, ",.0f")),
        ("s/step", number(state.step_s, ".2f")),
        ("memory", "–" if memory_bytes is None else size(memory_bytes)),
        ("checkpoint", _checkpoint(state)),
        *([] if job.host == LOCAL else [("host", shown_host(job.host))]),
        *_cost(job, rented, now or job.updated_at),
    ]


def _cost(job: StoredJob, rented: RentalSight | None, now: datetime) -> Pairs:
    if rented is None:
        return [("cost", "no rent")]
    pairs = [
        ("cost", usd(rented.cost_usd(now))),
        ("budget", usd(rented.stored.request.budget_usd)),
        ("$/h", usd(rented.usd_per_hour) if rented.usd_per_hour else "–"),
    ]
    projected = money_of_sight(rented, job.state, now).projected
    if projected is not None:
        pairs.append(("in all", f"~{usd(projected.expected)}"))
    lost = rented.rental.interruptions
    return [*pairs, ("interruptions", str(lost))] if lost else pairs


def settings(job: StoredJob, history: JobHistory) -> Pairs:
    """What was asked for, and what the trainer found on its machine."""
    spec = job.spec
    revision = f" at {spec.base_model_revision}" if spec.base_model_revision else ""
    pairs = [
        ("job", job.job_id),
        ("name", spec.name),
        ("notes", spec.notes),
        ("tags", ", ".join(spec.tags)),
        ("retry of", job.retry_of or ""),
        ("created", date_and_clock(job.created_at)),
        ("host", shown_host(job.host)),
        ("dataset", f"{spec.dataset.file_name} ({size(spec.dataset.size_bytes)})"),
        ("dataset sha256", spec.dataset.sha256),
        ("base model", spec.base_model + revision),
        ("preset", spec.preset.value),
        *((name, _setting(value)) for name, value in spec.hyperparameters),
        ("cut targets", spec.cut_targets),
        ("over-long", spec.over_long),
        ("optimizer", spec.optim),
        ("max restarts", str(spec.max_restarts)),
        ("dry run", "yes" if spec.dry_run else ""),
        *((name, value) for name, value in unusual_options(spec) if name not in _ALWAYS_SHOWN),
        *_found(history),
    ]
    return [(name, clean_line(value)) for name, value in pairs if value]


def _found(history: JobHistory) -> Pairs:
    facts = history.facts
    if facts is None:
        return []
    tokens = facts.micro_batch_tokens
    return [
        ("conversations", f"{facts.conversations} ({facts.held_out_conversations} held out)"),
        ("targets", f"{facts.targets:,}"),
        ("tokens an epoch", f"{facts.tokens_per_epoch:,}"),
        ("supervised tokens", f"{facts.supervised_tokens_per_epoch:,} an epoch"),
        ("trainable parameters", f"{facts.trainable_parameters:,}"),
        ("device", facts.device),
        ("quantization", facts.quantization),
        ("optimizer used", facts.optim),
        ("attention used", facts.attention),
        ("longest micro-batch", f"{tokens:,} tokens" if tokens else ""),
        ("separate rows", f"{facts.separate_rows:,}" if facts.separate_rows else ""),
        ("processes", str(facts.processes) if facts.processes > 1 else ""),
        ("versions", "  ".join(f"{name} {version}" for name, version in facts.versions.items())),
    ]


def time_left(job: StoredJob) -> str:
    """`ETA 0:00:12`; empty where nothing is known or nothing is left."""
    eta_s = job.state.eta_s()
    return "" if eta_s is None else f"ETA {duration(eta_s)}"


def _checkpoint(state: JobState) -> str:
    step = state.last_checkpoint_step
    return "–" if step is None else f"step {step}"


def _setting(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
