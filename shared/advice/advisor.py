"""From how a job ended to changed jobs that may do better: one rule for each stop reason.

Pure: the same values give the same suggestions, in a command, in the console and in a test. What
helps whatever the figures are stands in the table of `shared/lifecycle.py` instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from shared.advice.curves import curve_suggestions, half_rate
from shared.advice.memory import host_out_of_memory, out_of_memory, packs_that_did_not_fit
from shared.advice.suggestion import EndedJob, Suggestion
from shared.job_options import JOB_OPTIONS, setting_of, usual_option
from shared.lifecycle import StopReason
from shared.number_text import many, size

LONGER_WARMUP = 0.1
"""Share of the steps; three times the 0.03 of QLoRA (Dettmers et al., 2023)."""

EARLY = 0.2
"""A run that breaks in its first fifth breaks while the learning rate is at its highest."""

_MOST_RESTARTS = 20
"""The highest that `max_restarts` allows."""

_INTERRUPTED = "Interrupted "
"""How the agent begins where `max_restarts` did not suffice (`agent/verdict.py`)."""

_TOO_LONG = re.compile(
    r"([\d,]+) tokens up to turn \d+, max_seq_length is ([\d,]+): refused.*?"
    r"(?:\((\d[\d,]*) more errors?\))?$",
    re.DOTALL,
)
"""The sentence of the dataset check (`shared/dataset/checks/lengths.py`) in a stop's detail."""

_REFUSED_OPTION = re.compile(r"(\w+) = ")
"""How the trainer begins when it refuses an option: `attention = 'flash_attention_3': ...`."""


def suggestions(job: EndedJob) -> list[Suggestion]:
    """Changed jobs, the most promising first; behind them what no job can do."""
    if job.stop_reason is None:
        return []
    rule = _RULES.get(job.stop_reason)
    found = list(rule(job)) if rule is not None else []
    return sorted(found, key=lambda suggestion: not suggestion.can_be_launched)


def _after_a_run(job: EndedJob) -> Iterator[Suggestion]:
    yield from curve_suggestions(job)
    yield from packs_that_did_not_fit(job)


def _dry_run(job: EndedJob) -> Iterator[Suggestion]:
    yield Suggestion("The dry run passed; the whole job comes next.", {"dry_run": False})


def _non_finite(job: EndedJob) -> Iterator[Suggestion]:
    losses = [
        point.loss for point in job.points if point.loss is not None and point.grad_norm is not None
    ]
    if not losses:  # No update was ever made, so none of the settings of updates is at fault.
        yield Suggestion(
            "Already the first step was not finite, before any update: look at the base model "
            "(another revision, damaged files) rather than at the hyperparameters.",
            way="none",
        )
        return
    chosen = job.spec.hyperparameters
    changes: dict[str, float] = {"learning_rate": half_rate(chosen.learning_rate)}
    total_steps = job.state.total_steps or 0
    is_early = len(losses) <= EARLY * total_steps
    if is_early and chosen.warmup_ratio < LONGER_WARMUP:
        changes["warmup_ratio"] = LONGER_WARMUP
    yield Suggestion(
        f"Loss or gradient broke after {many(len(losses), 'sound step')} of {total_steps:,} (the "
        f"last loss was {losses[-1]:.4f}), at learning_rate {chosen.learning_rate:g}"
        f"{f' and warmup_ratio {chosen.warmup_ratio:g}' if is_early else ''}.",
        changes,
    )


def _disk_full(job: EndedJob) -> Iterator[Suggestion]:
    kept = job.spec.checkpoints_kept
    if kept == 1:
        return
    each = f" of {size(job.checkpoint_bytes)} each" if job.checkpoint_bytes else ""
    yield Suggestion(
        f"Up to {kept} checkpoints{each} stay on the disk; one is enough to go on from.",
        {"checkpoints_kept": 1},
        "resume" if job.state.last_checkpoint_step else "retry",
    )


def _checkpoint_mismatch(job: EndedJob) -> Iterator[Suggestion]:
    if job.spec.resume_from is None:
        yield Suggestion(
            "The checkpoint was made by other settings or versions: begin anew.", way="retry"
        )
        if job.state.last_checkpoint_step:
            yield Suggestion(
                "Or go on from it all the same; the figures may differ from an undisturbed run.",
                {"force_resume": True},
                "resume",
            )
        return
    source = job.spec.resume_from
    yield Suggestion(
        f"The checkpoint of step {source.step} of {source.job_id} was made by other settings or "
        "versions: begin with the base model.",
        {"resume_from": None},
    )
    yield Suggestion(
        "Or go on from it all the same; the figures may differ from an undisturbed run.",
        {"force_resume": True},
    )


def _restarts_exhausted(job: EndedJob) -> Iterator[Suggestion]:
    """More restarts help only a job that came forward between two interruptions."""
    state, spec = job.state, job.spec
    times = many(state.attempt, "time")
    if state.last_checkpoint_step:
        more = min(max(2 * spec.max_restarts, 3), _MOST_RESTARTS)
        yield Suggestion(
            f"It was interrupted {times}, and step {state.last_checkpoint_step} of "
            f"{state.total_steps or '?'} is saved: go on from there.",
            {"max_restarts": more} if more > spec.max_restarts else {},
            "resume",
        )
    elif state.step and spec.checkpoint_interval_steps != 1:
        yield Suggestion(
            f"It was interrupted {times}, the last time at step {state.step}, before any "
            "checkpoint: save after every step.",
            {"checkpoint_interval_steps": 1},
        )


def _gave_up(job: EndedJob) -> Iterator[Suggestion]:
    """It ended by itself; only where it came forward each time is it worth another try."""
    if job.state.detail.startswith(_INTERRUPTED):
        yield from _restarts_exhausted(job)


def _invalid_dataset(job: EndedJob) -> Iterator[Suggestion]:
    """Only for conversations over the limit; whatever else is wrong is wrong in the file."""
    found = _TOO_LONG.search(job.state.detail)
    if found is None:
        return
    tokens, limit, others = (int((text or "0").replace(",", "")) for text in found.groups())
    length = -(-tokens // 64) * 64
    longest_allowed = 131_072
    if not others and length <= longest_allowed:
        yield Suggestion(
            f"One conversation has {tokens:,} tokens, max_seq_length is {limit:,}.",
            {"max_seq_length": length},
        )
    which = f"{others + 1:,} findings stop the job, the first of them is" if others else "It is"
    yield Suggestion(
        f"{which} a conversation of {tokens:,} tokens, over max_seq_length {limit:,}: leave such "
        "ones out.",
        {"over_long": "exclude"},
    )


def _invalid_job_spec(job: EndedJob) -> Iterator[Suggestion]:
    """The machine cannot do what an option asks for: the option's usual value works everywhere."""
    found = _REFUSED_OPTION.match(job.state.detail)
    name = found.group(1) if found else ""
    if name not in JOB_OPTIONS or setting_of(job.spec, name) == usual_option(name):
        return
    yield Suggestion(f"{name} as usual works on this machine.", {name: usual_option(name)})


_RULES: dict[StopReason, Callable[[EndedJob], Iterator[Suggestion]]] = {
    StopReason.COMPLETED: _after_a_run,
    StopReason.CANCELLED: _after_a_run,
    StopReason.DRY_RUN_PASSED: _dry_run,
    StopReason.OUT_OF_MEMORY: out_of_memory,
    StopReason.HOST_OUT_OF_MEMORY: host_out_of_memory,
    StopReason.NON_FINITE: _non_finite,
    StopReason.DISK_FULL: _disk_full,
    StopReason.CHECKPOINT_MISMATCH: _checkpoint_mismatch,
    StopReason.RESTARTS_EXHAUSTED: _restarts_exhausted,
    StopReason.TRAINER_CRASHED: _gave_up,
    StopReason.TRAINER_HUNG: _gave_up,
    StopReason.HARDWARE_FAULT: _gave_up,
    StopReason.INVALID_DATASET: _invalid_dataset,
    StopReason.INVALID_JOB_SPEC: _invalid_job_spec,
}
"""A reason without a rule has nothing that another job would do differently."""
