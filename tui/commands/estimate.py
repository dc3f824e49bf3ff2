"""`brightrun estimate`: what a job would need, take and cost, before anything is started."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from shared.clean_text import clean_line
from shared.errors import InvalidDataset, InvalidInput
from shared.job_spec import JobSpec
from shared.memory.cards import CARDS, Card, cards_that_fit
from shared.model_shape import read_shape
from shared.number_text import duration
from shared.training_time import UTILISATION
from tui import exit_codes
from tui.commands.counting import counting_encoder
from tui.commands.dataset_check import print_report
from tui.commands.output import print_json, print_pairs, say_line
from tui.commands.start import StartOptions, build_spec
from tui.commands.terminal_session import open_terminal_session
from tui.services.dataset_check import check_training_file, settings_of
from tui.services.estimate import JobTime, job_time
from tui.services.hosts.names import LOCAL, checked_host_name
from tui.services.memory_check import MemoryNeed, Prediction, Room, predict, room_of_host
from tui.services.model_shapes import HOW_TO_GIVE, FoundShape, model_shape
from tui.services.speed import known_speed
from tui.services.training_plan import TrainingPlan, plan_training
from tui.views.job_summary import steps_text
from tui.views.memory_lines import (
    FIT_STYLES,
    arithmetic_lines,
    need_in_words,
    remedy_lines,
    replicas_in_words,
)

DEFAULT_GPU = "H100_PCIE"
"""What a job is meant for where nobody says otherwise."""
_FINDINGS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class EstimateOptions:
    """What was typed."""

    start: StartOptions
    """The job, as it would be started; its host is None unless one was named."""
    gpu: str | None = None
    config: Path | None = None
    usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Everything that is printed."""

    spec: JobSpec
    plan: TrainingPlan
    memory: Prediction
    time: JobTime
    usd_per_hour: float | None


async def estimate_job(options: EstimateOptions) -> int:
    """Print it; 2 where the job would be refused for want of memory.

    Raises:
        InvalidInput: a file, a setting or a GPU type that makes no sense.
    """
    named = options.start.host
    if options.gpu is not None and named is not None:
        raise InvalidInput("--gpu and --host: give one of them.")
    host = checked_host_name(named or LOCAL)
    card_called(options.gpu or DEFAULT_GPU)  # Before a large file is read in vain.
    spec, plan = _planned(options.start, host)
    found = _shape(options, spec, host)
    if named is None:
        estimate = _on_card(spec, plan, found, options)
    else:
        estimate = await _on_host(spec, plan, found, options, host)
    if options.start.as_json:
        print_json(_plain(estimate))
    else:
        _print(estimate)
    need = estimate.memory.need
    return exit_codes.INVALID_INPUT if need is not None and need.is_refused else exit_codes.OK


def card_called(name: str) -> Card:
    """The GPU type of this name, in whatever case.

    Raises:
        InvalidInput: there is none; the message lists them.
    """
    card = CARDS.get(name.upper().replace("-", "_"))
    if card is None:
        raise InvalidInput(f"--gpu {name}: is not known; there are {', '.join(CARDS)}.")
    return card


def _planned(options: StartOptions, host: str) -> tuple[JobSpec, TrainingPlan]:
    """The job, and what of the file it would train."""
    [path] = options.datasets
    spec = build_spec(options, path, host)
    checked = check_training_file(path, settings_of(spec), counting_encoder(spec.base_model, host))
    print_report(checked.report, most_findings=_FINDINGS_SHOWN, as_json=options.as_json)
    if checked.report.has_errors or checked.outline is None:
        raise InvalidDataset(f"{path}: has errors; a job on it would not be started.")
    plan = plan_training(checked.outline, spec.hyperparameters)
    if plan.targets == 0:
        raise InvalidDataset(f"{path}: with these settings nothing is left to train.")
    return spec, plan


def _shape(options: EstimateOptions, spec: JobSpec, host: str) -> FoundShape:
    if options.config is not None:
        return FoundShape(read_shape(options.config))
    found = model_shape(spec.base_model, spec.base_model_revision, host, may_fetch=True)
    return found if found.shape else FoundShape(None, f"{found.reason}; {HOW_TO_GIVE}")


def _on_card(
    spec: JobSpec, plan: TrainingPlan, found: FoundShape, options: EstimateOptions
) -> Estimate:
    name = options.gpu or DEFAULT_GPU
    card = card_called(name)
    memory = predict(spec, found, plan, Room(name.upper(), card.memory_bytes))
    time = job_time(
        plan,
        spec.hyperparameters.num_epochs,
        shape=found.shape,
        card=card,
        num_gpus=spec.num_gpus,
    )
    return Estimate(spec, plan, memory, time, options.usd_per_hour)


async def _on_host(
    spec: JobSpec, plan: TrainingPlan, found: FoundShape, options: EstimateOptions, host: str
) -> Estimate:
    """By what the machine tells of itself, and the speed that was measured there."""
    async with open_terminal_session(options.start.accept_host_key) as session:
        room = await room_of_host(session, host, spec.num_gpus)
        speed = await known_speed(session.store, spec.base_model, host)
    time = job_time(plan, spec.hyperparameters.num_epochs, observed=speed.observed)
    return Estimate(spec, plan, predict(spec, found, plan, room), time, options.usd_per_hour)


# --- as JSON ----------------------------------------------------------------------------------


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "dataset": estimate.spec.dataset.model_dump(),
        "base_model": estimate.spec.base_model,
        "plan": asdict(estimate.plan),
        "memory": _plain_memory(estimate.memory),
        "time": _plain_time(estimate),
    }


def _plain_memory(memory: Prediction) -> dict[str, Any]:
    need = memory.need
    if need is None:
        return {"reason": memory.reason}
    return {
        "room": asdict(need.room),
        "peak_bytes": need.plan.peak_bytes,
        "fit": need.fit.value,
        "is_verified_on_hardware": False,
        "micro_batch_tokens": need.plan.micro_batch_tokens,
        "lora_parameters": need.plan.lora_parameters,
        "lines": [asdict(line) for line in need.plan.lines],
        "remedies": [asdict(remedy) for remedy in need.remedies],
        "gpus_that_fit": cards_that_fit(need.plan.peak_bytes) if need.room.on_gpu else [],
    }


def _plain_time(estimate: Estimate) -> dict[str, Any]:
    time, cost = estimate.time, _cost(estimate)
    return {
        "from_s": time.span and time.span.from_s,
        "to_s": time.span and time.span.to_s,
        "measured_in_job": time.observed and time.observed.job_id,
        "usd_per_hour": estimate.usd_per_hour,
        "cost_from_usd": cost and cost[0],
        "cost_to_usd": cost and cost[1],
    }


def _cost(estimate: Estimate) -> tuple[float, float] | None:
    if estimate.usd_per_hour is None:
        return None
    return estimate.time.cost_usd(estimate.usd_per_hour)


# --- for people -------------------------------------------------------------------------------


def _print(estimate: Estimate) -> None:
    spec, plan, need = estimate.spec, estimate.plan, estimate.memory.need
    pairs = [
        ("steps", steps_text(spec.hyperparameters, plan)),
        ("tokens an epoch", f"{plan.tokens_per_epoch:,}"),
        ("longest conversation", f"{plan.longest_row_tokens:,} tokens"),
    ]
    if need is not None:
        pairs += [
            ("largest micro-batch", f"{need.plan.micro_batch_tokens:,} tokens"),
            ("adapter", f"{need.plan.lora_parameters:,} parameters"),
        ]
    print_pairs([*pairs, ("time", _time_text(estimate)), ("cost", _cost_text(estimate))])
    if need is None:
        say_line(Text(f"memory  not known: {clean_line(estimate.memory.reason)}.", "yellow"))
    else:
        _print_memory(need, spec.num_gpus)


def _print_memory(need: MemoryNeed, num_gpus: int) -> None:
    say_line("")
    for line in arithmetic_lines(need.plan, on_gpu=need.room.on_gpu):
        say_line(line)
    say_line("")
    say_line(Text(f"memory: {need_in_words(need)}", FIT_STYLES[need.fit]))
    if words := replicas_in_words(num_gpus, need):
        say_line(words)
    if lines := remedy_lines(need):
        say_line("what would fit:")
        for line in lines:
            say_line(line)


def _time_text(estimate: Estimate) -> str:
    time = estimate.time
    if time.span is None:
        return "unknown: no earlier job with this model was measured there"
    if time.observed is not None:
        speed = f"{time.observed.tokens_per_s:,.0f} tokens/s, as in {time.observed.job_id}"
        return f"about {duration(time.span.from_s)} of training at {speed}"
    low, high = UTILISATION
    span = f"{duration(time.span.from_s)} to {duration(time.span.to_s)}"
    assumed = f"{low:.0%} to {high:.0%} of the GPU's peak"
    return f"an estimate, not measured: {span} of training, if it reaches {assumed}"


def _cost_text(estimate: Estimate) -> str:
    if estimate.usd_per_hour is None:
        return "unknown: give the price of the machine with --usd-per-hour"
    cost = _cost(estimate)
    if cost is None:
        return "unknown, as the time"
    least, most = cost
    amount = f"${least:,.2f}" if least == most else f"${least:,.2f} to ${most:,.2f}"
    return f"{amount} at ${estimate.usd_per_hour:,.2f} an hour, for training alone"
