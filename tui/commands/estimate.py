"""`brightrun estimate`: what a job would need, take and cost, before anything is started."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from shared.clean_text import clean_line
from shared.errors import InvalidDataset, InvalidInput, NoCapacity, OverBudget
from shared.forecast.forecast import Forecast, Span
from shared.job_spec import JobSpec
from shared.machine_request import Candidate, Cloud, Stock
from shared.memory.cards import CARDS, Card, cards_that_fit
from shared.model_shape import read_shape
from tui import exit_codes
from tui.commands.counting import counting_encoder
from tui.commands.dataset_check import print_report
from tui.commands.output import print_json, print_pairs, print_table, say_line
from tui.commands.start import StartOptions, build_spec
from tui.commands.terminal_session import open_terminal_session
from tui.services.artifact_uploads.size_limits import adapter_bytes, upload_warning
from tui.services.dataset_check import check_training_file, settings_of
from tui.services.estimate import amount_warnings, forecast_on_gpu, forecast_on_host
from tui.services.forecasting import past_of
from tui.services.hosts.names import LOCAL, checked_host_name
from tui.services.memory_check import (
    MemoryNeed,
    Prediction,
    Room,
    known_facts,
    predict,
    room_of_host,
)
from tui.services.model_shapes import HOW_TO_GIVE, FoundShape, model_shape
from tui.services.session import Session
from tui.services.training_plan import TrainingPlan, plan_training
from tui.views.forecast_lines import PART_HEADERS, money_pairs, part_rows
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
    live: bool = False
    """Ask RunPod's catalogue for the price."""
    budget_usd: float | None = None
    """What it may cost at the most; None: whatever it costs."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Everything that is printed."""

    spec: JobSpec
    plan: TrainingPlan
    memory: Prediction
    forecast: Forecast
    offer: Candidate | None = None
    """Whose price was taken."""
    upload_warning: str = ""
    """Where Supabase would not take the adapter."""

    @property
    def warnings(self) -> list[str]:
        """What is much, or too much; sentences."""
        return [*amount_warnings(self.forecast), *filter(None, [self.upload_warning])]


async def estimate_job(options: EstimateOptions) -> int:
    """Print it; 2 where the job would be refused for want of memory, or of money.

    Raises:
        InvalidInput: a file, a setting or a GPU type that makes no sense.
        ProviderError: the catalogue was to be asked, and does not answer.
    """
    named = options.start.host
    _require_sense(options, named)
    host = checked_host_name(named or LOCAL)
    card_called(options.gpu or DEFAULT_GPU)  # Before a large file is read in vain.
    spec, plan = _planned(options.start, host)
    found = _shape(options, spec, host)
    async with open_terminal_session(options.start.accept_host_key) as session:
        if named is None:
            estimate = await _on_card(session, spec, plan, found, options)
        else:
            estimate = await _on_host(session, spec, plan, found, options, host)
        words = await upload_warning(session.config, adapter_bytes(spec, found.shape))
        estimate = replace(estimate, upload_warning=words)
    if options.start.as_json:
        print_json(_plain(estimate, options.budget_usd))
    else:
        _print(estimate)
    _require_budget(estimate.forecast, options.budget_usd)
    need = estimate.memory.need
    return exit_codes.INVALID_INPUT if need is not None and need.is_refused else exit_codes.OK


def _require_sense(options: EstimateOptions, named: str | None) -> None:
    if options.gpu is not None and named is not None:
        raise InvalidInput("--gpu and --host: give one of them.")
    if options.live and (named is not None or options.usd_per_hour is not None):
        raise InvalidInput("--live asks for a price: leave --host and --usd-per-hour out.")


def _require_budget(forecast: Forecast, budget_usd: float | None) -> None:
    """Refuse what would cost more than it may even if all goes well.

    Raises:
        OverBudget: says what it would take.
    """
    cost = forecast.cost_usd
    if budget_usd is None or cost is None or cost.expected <= budget_usd:
        return
    raise OverBudget(
        f"About ${cost.expected:,.2f} are expected (${cost.best:,.2f} to ${cost.worst:,.2f}), and "
        f"the budget is ${budget_usd:,.2f}. Train less (fewer epochs, a smaller file), take a "
        "cheaper GPU, or raise --budget."
    )


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


async def _on_card(
    session: Session,
    spec: JobSpec,
    plan: TrainingPlan,
    found: FoundShape,
    options: EstimateOptions,
) -> Estimate:
    """On a rented machine, by what earlier jobs took on such ones."""
    name = (options.gpu or DEFAULT_GPU).upper().replace("-", "_")
    memory = predict(spec, found, plan, Room(name, card_called(name).memory_bytes))
    offer = await _cheapest(session, name, spec.num_gpus) if options.live else None
    price = options.usd_per_hour if offer is None else offer.usd_per_hour
    past = await past_of(session.store, spec.base_model, revision=spec.base_model_revision)
    foreseen = forecast_on_gpu(spec, plan, found.shape, memory, name, price, past)
    return Estimate(spec, plan, memory, foreseen, offer)


async def _cheapest(session: Session, gpu_type: str, gpu_count: int) -> Candidate:
    """What RunPod asks for such a machine now; one that is sold out tells the price as well.

    Raises:
        NoCapacity: it has none, sold out or not.
    """
    offers = await session.provider().offers([gpu_type], gpu_count, [Cloud.SECURE])
    if not offers:
        raise NoCapacity(f"RunPod has no {gpu_type} in its secure cloud, sold out or not.")
    return min(offers, key=lambda each: (each.stock is Stock.NONE, each.usd_per_hour))


async def _on_host(
    session: Session,
    spec: JobSpec,
    plan: TrainingPlan,
    found: FoundShape,
    options: EstimateOptions,
    host: str,
) -> Estimate:
    """By what the machine tells of itself, and what earlier jobs took there."""
    memory = predict(spec, found, plan, await room_of_host(session, host, spec.num_gpus))
    facts = await known_facts(session.store, host)
    past = await past_of(session.store, spec.base_model, host)
    foreseen = forecast_on_host(spec, plan, found.shape, memory, host, facts, past)
    if options.usd_per_hour is not None:
        place = foreseen.place.model_copy(update={"usd_per_hour": options.usd_per_hour})
        foreseen = foreseen.model_copy(update={"place": place})
    return Estimate(spec, plan, memory, foreseen)


# --- as JSON ----------------------------------------------------------------------------------


def _plain(estimate: Estimate, budget_usd: float | None) -> dict[str, Any]:
    return {
        "dataset": estimate.spec.dataset.model_dump(),
        "base_model": estimate.spec.base_model,
        "plan": asdict(estimate.plan),
        "memory": _plain_memory(estimate.memory),
        "forecast": _plain_forecast(estimate.forecast),
        "budget_usd": budget_usd,
        "warnings": estimate.warnings,
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


def _plain_forecast(forecast: Forecast) -> dict[str, Any]:
    return {
        **forecast.model_dump(mode="json"),
        "total_s": _plain_span(forecast.total),
        "start_up_s": _plain_span(forecast.start_up),
        "machine_usd": _plain_span(forecast.machine_usd),
        "storage_usd": _plain_span(forecast.storage_usd),
        "cost_usd": _plain_span(forecast.cost_usd),
    }


def _plain_span(span: Span | None) -> dict[str, float] | None:
    return None if span is None else span.model_dump()


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
    print_pairs(pairs)
    _print_forecast(estimate)
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


def _print_forecast(estimate: Estimate) -> None:
    forecast = estimate.forecast
    say_line("")
    say_line(Text(f"Forecast on {_where(estimate)}", "bold"))
    print_table(PART_HEADERS, [list(astuple(row)) for row in part_rows(forecast)], shrinking="FROM")
    pairs = money_pairs(forecast)
    print_pairs(pairs or [("cost", "unknown: --usd-per-hour gives the price of the machine")])
    for line in estimate.warnings:
        say_line(Text(f"! {line}", "yellow"))


def _where(estimate: Estimate) -> str:
    place, offer = estimate.forecast.place, estimate.offer
    count = f"{place.num_gpus} x " if place.num_gpus > 1 else ""
    stock = "" if offer is None else f", by RunPod's catalogue of now (stock: {offer.stock})"
    return clean_line(f"{count}{place.machine}{stock}")
