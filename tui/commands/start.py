"""`brightrun start`: from what was typed to a running job."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from shared.clean_text import clean_line
from shared.errors import DatasetChanged, InvalidDataset
from shared.forecast.forecast import Forecast
from shared.job_options import parse_setting, read_settings
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.memory.cards import Fit
from shared.number_text import many
from shared.store.store import Store, open_store
from shared.store.stored import MergedSource, StoredJob
from tui import exit_codes
from tui.commands.counting import counting_encoder
from tui.commands.dataset_check import print_report
from tui.commands.output import print_json, say, say_line
from tui.commands.progress_bar import shown_progress
from tui.commands.rent import CheckedJob, RentOptions, check_typed, start_rented
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.commands.watch import watch_in
from tui.config import load_config
from tui.services import jobs
from tui.services.artifact_uploads.size_limits import expected_adapter_bytes, upload_warning
from tui.services.dataset_check import CheckedFile, check_training_file, readable, settings_of
from tui.services.dataset_registry import change_since_check, record_check
from tui.services.forecasting import forecast_for_start
from tui.services.host_queue import giving_turns
from tui.services.hosts.names import LOCAL, RUNPOD, checked_host_name
from tui.services.memory_check import Prediction, predict_for_start, require_room
from tui.services.queue import WHO_STARTS, at_work_on, queue_job
from tui.services.session import Session
from tui.services.templates import template_named, wanted_with
from tui.services.training_sets import make_training_set, merged_in_words
from tui.services.webhook_targets import target_to_use
from tui.views.forecast_lines import in_one_line
from tui.views.memory_lines import need_in_words

_FINDINGS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Who is told of the job, as it was typed."""

    url: str | None = None
    """None: as the environment says."""
    interval_steps: int | None = None
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What was typed. `values` are fields of the job spec; None where nothing was given."""

    datasets: tuple[Path, ...]
    """Several are merged into one training set."""
    settings: tuple[str, ...]
    """Each `NAME=VALUE`."""
    values: dict[str, Any]
    host: str | None = None
    """None: as the environment says, else this machine."""
    accept_host_key: str | None = None
    watch: bool = False
    as_json: bool = False
    queue: bool = False
    """Written down now, and started when its turn comes."""
    ignore_memory: bool = False
    """Start also what will not fit, by the prediction."""
    rent: RentOptions = field(default_factory=RentOptions)
    """For a machine that is rented."""
    webhook: WebhookOptions = field(default_factory=WebhookOptions)
    training_file_id: str | None = None
    """Instead of `datasets`: a row of the web application's training files."""
    template: str | None = None
    """What the job begins with; None: the preset alone."""
    typed: frozenset[str] = frozenset()
    """Fields of a template that were typed, and come before it."""


async def start_job(options: StartOptions) -> int:
    """Check, write down, hand over; then watch, if that was asked for."""
    if options.template is not None:
        options = await _with_template(options, options.template)
    host = checked_host_name(options.host or load_config().default_host)
    if host == RUNPOD:
        check_typed(options.rent)
    told = target_to_use(
        options.webhook.url,
        options.webhook.interval_steps,
        allow_private=options.webhook.allow_private,
    )
    if options.training_file_id is not None:
        options = await _with_web_file(options, options.training_file_id)
    path, sources = _training_file(options)
    spec = build_spec(options, path, host)
    checked = check_for_job(path, spec, host)
    report = checked.report
    print_report(report, most_findings=_FINDINGS_SHOWN, as_json=options.as_json)
    if report.has_errors:
        raise InvalidDataset(f"{path}: has errors; nothing was started.")
    async with open_terminal_session(options.accept_host_key) as session:
        await _record(session.store, checked, sources, as_json=options.as_json)
        if host == RUNPOD:
            job = CheckedJob(path, spec, checked, webhook=told)
            return await start_rented(
                session,
                job,
                options.rent,
                as_json=options.as_json,
                watch=options.watch,
                queue=options.queue,
            )
        memory = await predict_for_start(session.store, checked, spec, host)
        _say_memory(memory, options)
        if too_large := await upload_warning(session.config, expected_adapter_bytes(memory)):
            say_line(Text(f"! {too_large}", "yellow"), as_json=options.as_json)
        foreseen = await forecast_for_start(session.store, checked, spec, host)
        _say_forecast(foreseen, options)
        if options.queue:
            started = await queue_job(
                session, path, spec, report, host=host, foreseen=foreseen, webhook=told
            )
            is_new = not started.was_there
            return await _see_to_queued(session, started.job, options, is_new=is_new)
        others = [other for other in await at_work_on(session, host) if other != spec.job_id]
        with shown_steps(host) as on_step:
            started = await jobs.start_job(
                session,
                path,
                spec,
                report,
                host=host,
                foreseen=foreseen,
                webhook=told,
                on_step=on_step,
            )
        _say_outcome(started, options)
        if others and not started.was_there:
            words = f"{many(len(others), 'job')} of ours already at work on {host}; GPUs are shared"
            hint = Text(f"{words}. --queue waits for a turn.", "yellow")
            say_line(hint, as_json=options.as_json)
        if options.watch:
            return await watch_in(session, spec.job_id, as_json=options.as_json)
    return exit_codes.OK


async def _with_web_file(options: StartOptions, file_id: str) -> StartOptions:
    """Bring the web application's file here.

    Raises:
        InvalidInput: no project is named, or there is no such file.
        SupabaseError: it cannot be asked for.
        IntegrityError: its bytes are not those of its row.
    """
    from tui.commands.dataset_remote import fetched_in_words
    from tui.services.web_files import fetch

    async with open_terminal_session() as session:
        with shown_progress("fetching the training file") as told:
            fetched = await fetch(session, file_id, told)
    for line in fetched_in_words(fetched):
        say(line)
    return replace(options, datasets=(fetched.path,))


async def _with_template(options: StartOptions, name: str) -> StartOptions:
    """What was typed, laid over a template.

    Raises:
        InvalidInput: there is no such template, or a newer version has made it.
    """
    async with open_store(load_config().database_path) as store:
        template = await template_named(store, name)
    given = {n: value for n, value in template.values().items() if n not in options.typed}
    machine, host, rent = template.machine, options.host, options.rent
    if machine is not None:
        wanted = wanted_with(rent.wanted, machine, options.typed)
        rent, host = replace(rent, wanted=wanted), host or RUNPOD
    return replace(options, values={**options.values, **given}, host=host, rent=rent)


async def _see_to_queued(
    session: Session, job: StoredJob, options: StartOptions, *, is_new: bool
) -> int:
    """Say where it stands; with --watch, give turns until it has ended."""
    if options.as_json:
        print_json({"job_id": job.job_id, "created": is_new, "status": job.status.value})
    elif job.waits_for_turn and not job.status.is_final:
        waiting = [each.job_id for each in await session.store.queue.waiting()]
        place = waiting.index(job.job_id) + 1 if job.job_id in waiting else 1
        say_line(f"{job.job_id} is queued, {place} of {len(waiting)}; {WHO_STARTS}.")
    else:
        say_line(f"{job.job_id} had been started before ({job.status}); nothing was changed.")
    if options.watch:
        async with giving_turns(session, on_news=say):
            return await watch_in(session, job.job_id, as_json=options.as_json)
    if not options.as_json:
        say_line(f"  brightrun watch {job.job_id}\n  brightrun queue")
    return exit_codes.OK


def build_spec(options: StartOptions, path: Path, host: str = LOCAL) -> JobSpec:
    """The complete spec of what was typed, for a job on this host with the training file at `path`.

    Raises:
        InvalidInput: a value that is unknown or out of range, or a file that cannot be read.
    """
    given = {name: value for name, value in options.values.items() if value is not None}
    if given.get("base_model") is not None:
        given["base_model"] = _base_model(given["base_model"], host)
    given.setdefault("name", path.stem[:100].ljust(3, "-"))
    typed = read_settings(dict(map(parse_setting, options.settings)))
    of_template = given.pop("hyperparameters", {})
    typed["hyperparameters"] = {**of_template, **typed["hyperparameters"]}
    return build_job_spec(DatasetReference.of(path), {**given, **typed}, where="start")


def check_for_job(path: Path, spec: JobSpec, host: str) -> CheckedFile:
    """The file as the job would train it.

    Raises:
        DatasetChanged: it is not the one that the spec names any more.
    """
    checked = check_training_file(path, settings_of(spec), counting_encoder(spec.base_model, host))
    if readable(checked) != spec.dataset:
        raise DatasetChanged(f"{path}: changed while it was read. Start again.")
    return checked


def _training_file(options: StartOptions) -> tuple[Path, tuple[MergedSource, ...]]:
    """The one that was typed, or the set that is made of several, and what it was made of."""
    if len(options.datasets) == 1:
        return options.datasets[0], ()
    made = make_training_set(options.datasets, load_config().training_sets_path)
    say_line(merged_in_words(made), as_json=options.as_json)
    return made.path, made.sources


async def _record(
    store: Store, checked: CheckedFile, sources: tuple[MergedSource, ...], *, as_json: bool
) -> None:
    """Write the check down, and say what has changed in the file since the last one."""
    change = await change_since_check(store, checked)
    await record_check(store, checked, sources)
    if change:
        words = clean_line(f"{checked.path} {change}.")
        say_line(Text(words, "yellow"), as_json=as_json)


def _say_memory(memory: Prediction, options: StartOptions) -> None:
    """What the job will need.

    Raises:
        TooLittleMemory: more than its GPU has, and nobody said that it does not matter.
    """
    need = memory.need
    if need is None:
        words, style = f"memory: not known: {clean_line(memory.reason)}.", "dim"
    else:
        words, style = f"memory: {need_in_words(need)}.", "" if need.fit is Fit.FITS else "yellow"
    say_line(Text(words, style), as_json=options.as_json)
    if not options.ignore_memory:
        require_room(memory)


def _say_forecast(foreseen: Forecast | None, options: StartOptions) -> None:
    if foreseen is not None:
        say_line(f"time: {in_one_line(foreseen)}.", as_json=options.as_json)


def _say_outcome(started: jobs.Started, options: StartOptions) -> None:
    job_id, status = started.job.job_id, started.job.status
    if options.as_json:
        print_json({"job_id": job_id, "created": not started.was_there, "status": status.value})
        return
    if started.was_there:
        say_line(f"{job_id} had been started before ({status}); nothing was changed.")
    else:
        say_line(f"{job_id} started.")
    if not options.watch:
        say_line(f"  brightrun watch {job_id}\n  brightrun show {job_id}")


def _base_model(typed: str, host: str) -> str:
    """A directory becomes absolute, since the trainer runs elsewhere; a name stays a name.

    For another host than this machine it is a directory there, which nobody here can look into.
    """
    if host != LOCAL:
        return typed
    path = Path(os.path.expanduser(typed))  # An unknown user stays as typed.
    return str(path.absolute()) if path.is_dir() else typed
