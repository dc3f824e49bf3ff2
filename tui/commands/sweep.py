"""`brightrun sweep`: from listed values to jobs, one after the other or on rented machines.

Every combination is checked before anything is written, and all jobs are written at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.clean_text import clean_line
from shared.errors import InvalidDataset, InvalidInput
from shared.events import utc_now
from shared.forecast.forecast import Span
from shared.job_spec import JobSpec, new_job_id
from shared.number_text import duration, many
from shared.sweep import (
    Sweep,
    difference_text,
    differing_settings,
    expand,
    new_sweep,
    parse_varied,
)
from tui import exit_codes
from tui.commands.dataset_check import print_report
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.rent import check_typed
from tui.commands.start import StartOptions, build_spec, check_for_job
from tui.commands.sweep_progress import follow_sweep, say_who_starts
from tui.commands.sweep_rent import agreed_jobs, base_of_before
from tui.commands.terminal_session import open_terminal_session
from tui.config import load_config
from tui.services.dataset_check import CheckedFile, CheckSettings, settings_of
from tui.services.forecasting import forecast_for_start
from tui.services.hosts.names import RUNPOD, checked_host_name
from tui.services.memory_check import Prediction, predict_for_start, require_room
from tui.services.session import Session
from tui.services.sweeps import PlannedJob, started_before, write_sweep
from tui.views.forecast_lines import span_words
from tui.views.memory_lines import need_in_words

_FINDINGS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What was typed. `start` holds what all jobs have in common."""

    start: StartOptions
    varied: tuple[str, ...]
    """Each `NAME=VALUE,VALUE`."""
    name: str | None = None
    sweep_id: str | None = None
    queue_only: bool = False
    """Write the jobs down, and leave it to others to start them."""


async def start_sweep(options: SweepOptions) -> int:
    """Check all combinations, write them down, and follow them to their ends."""
    host = checked_host_name(options.start.host or load_config().default_host)
    _require_typed(options, host)
    path = options.start.datasets[0]
    base = build_spec(options.start, path, host)
    sweep = _sweep_of(options, host)
    as_json = options.start.as_json
    async with open_terminal_session(options.start.accept_host_key) as session:
        base = await base_of_before(session, base, sweep)
        specs = expand(base, sweep)
        say_line(_intent(sweep, specs), as_json=as_json)
        created = 0
        if not await started_before(session, sweep, specs):
            planned = _checked_jobs(path, specs, host, as_json=as_json)
            requests = None
            if host == RUNPOD:
                agreed = await agreed_jobs(session, sweep, planned, options)
                if agreed is None:
                    say("nothing was rented.")
                    return exit_codes.CANCELLED
                planned, requests = agreed
            else:
                planned = await _foreseen(session, planned, host, options.start)
            created = await write_sweep(session, sweep, planned, host, requests)
        _say_written(sweep, specs, created, as_json=as_json)
        if options.queue_only:
            await say_who_starts(session, sweep)
            return exit_codes.OK
        return await follow_sweep(session, sweep, as_json=as_json)


def _require_typed(options: SweepOptions, host: str) -> None:
    """Find out early what would be refused at the end."""
    if len(options.start.datasets) != 1:
        raise InvalidInput("A sweep trains on one file: name one --dataset.")
    budget = options.start.rent.wanted.budget_usd
    if host == RUNPOD:
        check_typed(options.start.rent)
    elif budget is not None:
        raise InvalidInput(
            f"--budget is for rented machines (--host runpod); nobody pays for {clean_line(host)} "
            "by the hour."
        )


def _sweep_of(options: SweepOptions, host: str) -> Sweep:
    stem = options.start.datasets[0].stem[:60] or "sweep"
    return new_sweep(
        {
            "sweep_id": options.sweep_id or new_job_id(),
            "name": options.name or stem,
            "varied": tuple(parse_varied(typed) for typed in options.varied),
            "budget_usd": options.start.rent.wanted.budget_usd if host == RUNPOD else None,
            "created_at": utc_now(),
        }
    )


def _intent(sweep: Sweep, specs: Sequence[JobSpec]) -> str:
    counts = " x ".join(f"{len(each.values)} of {each.name}" for each in sweep.varied)
    return f"{clean_line(sweep.name)}: {many(len(specs), 'job')} ({counts}) as {sweep.sweep_id}."


def _checked_jobs(
    path: Path, specs: Sequence[JobSpec], host: str, *, as_json: bool
) -> list[PlannedJob]:
    """The file checked for each; once, unless something varies that a check depends on.

    Raises:
        InvalidDataset: it has errors with the settings of one of the jobs.
    """
    known: dict[CheckSettings, CheckedFile] = {}
    planned = []
    for spec in specs:
        settings = settings_of(spec)
        if settings not in known:
            known[settings] = checked = check_for_job(path, spec, host)
            report = checked.report
            if len(known) == 1 or report.has_errors:
                print_report(report, most_findings=_FINDINGS_SHOWN, as_json=as_json)
            if report.has_errors:
                raise InvalidDataset(
                    f"{path}: has errors with {clean_line(spec.name)}; nothing was started."
                )
        planned.append(PlannedJob(spec, known[settings]))
    return planned


async def _foreseen(
    session: Session, planned: Sequence[PlannedJob], host: str, options: StartOptions
) -> list[PlannedJob]:
    """Say what each job will need and how long it will take.

    Raises:
        TooLittleMemory: one needs more than its GPU has, and nobody said that it does not matter.
    """
    names = differing_settings([each.spec for each in planned])
    rows, needs, jobs = [], [], []
    for each in planned:
        needs.append(await predict_for_start(session.store, each.checked, each.spec, host))
        foreseen = await forecast_for_start(session.store, each.checked, each.spec, host)
        jobs.append(replace(each, foreseen=foreseen))
        words = [prediction_words(needs[-1]), span_words(_seconds(jobs[-1]))]
        rows.append([each.spec.job_id, difference_text(each.spec, names), *words])
    headers = ["JOB", "VARIES", "MEMORY", "TIME"]
    print_table(headers, rows, "VARIES", to_stderr=options.as_json)
    expected = [seconds.expected for each in jobs if (seconds := _seconds(each)) is not None]
    if len(expected) == len(jobs):
        total = duration(sum(expected))
        say_line(f"all of them one after the other: about {total}.", as_json=options.as_json)
    if not options.ignore_memory:
        for memory in needs:
            require_room(memory)
    return jobs


def _seconds(each: PlannedJob) -> Span | None:
    return None if each.foreseen is None else each.foreseen.total


def prediction_words(memory: Prediction) -> str:
    """One cell."""
    need = memory.need
    return f"not known: {clean_line(memory.reason)}" if need is None else need_in_words(need)


def _say_written(sweep: Sweep, specs: Sequence[JobSpec], created: int, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "sweep_id": sweep.sweep_id,
                "created": created,
                "job_ids": [spec.job_id for spec in specs],
            }
        )
    elif created:
        say_line(f"{sweep.sweep_id}: {many(created, 'job')} written down.")
    else:
        say_line(f"{sweep.sweep_id} had been started before; nothing was changed.")
