"""`brightrun start`: from what was typed to a running job."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from shared.clean_text import clean_line
from shared.errors import DatasetChanged, InvalidDataset
from shared.job_options import parse_setting, read_settings
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.memory.cards import Fit
from shared.store.store import Store
from shared.store.stored import MergedSource
from tui import exit_codes
from tui.commands.counting import counting_encoder
from tui.commands.dataset_check import print_report
from tui.commands.output import print_json, say_line
from tui.commands.rent import CheckedJob, RentOptions, check_typed, start_rented
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.commands.watch import watch_in
from tui.config import load_config
from tui.services import jobs
from tui.services.dataset_check import CheckedFile, check_training_file, readable, settings_of
from tui.services.dataset_registry import change_since_check, record_check
from tui.services.hosts.names import LOCAL, RUNPOD, checked_host_name
from tui.services.memory_check import Prediction, predict_for_start, require_room
from tui.services.training_sets import make_training_set, merged_in_words
from tui.views.memory_lines import need_in_words

_FINDINGS_SHOWN = 20


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
    ignore_memory: bool = False
    """Start also what will not fit, by the prediction."""
    rent: RentOptions = field(default_factory=RentOptions)
    """For a machine that is rented."""


async def start_job(options: StartOptions) -> int:
    """Check, write down, hand over; then watch, if that was asked for."""
    host = checked_host_name(options.host or load_config().default_host)
    if host == RUNPOD:
        check_typed(options.rent)
    path, sources = _training_file(options)
    spec = build_spec(options, path, host)
    checked = _check(path, spec, host)
    report = checked.report
    print_report(report, most_findings=_FINDINGS_SHOWN, as_json=options.as_json)
    if report.has_errors:
        raise InvalidDataset(f"{path}: has errors; nothing was started.")
    async with open_terminal_session(options.accept_host_key) as session:
        await _record(session.store, checked, sources, as_json=options.as_json)
        if host == RUNPOD:
            job = CheckedJob(path, spec, checked)
            return await start_rented(
                session, job, options.rent, as_json=options.as_json, watch=options.watch
            )
        _say_memory(await predict_for_start(session.store, checked, spec, host), options)
        with shown_steps(host) as on_step:
            started = await jobs.start_job(session, path, spec, report, host=host, on_step=on_step)
        _say_outcome(started, options)
        if options.watch:
            return await watch_in(session, spec.job_id, as_json=options.as_json)
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
    return build_job_spec(DatasetReference.of(path), {**given, **typed}, where="start")


def _check(path: Path, spec: JobSpec, host: str) -> CheckedFile:
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
