"""`brightrun start`: from a training file to a running job.

The order is what makes it safe to kill and to repeat: the spec is complete and checked before
anything happens, the intent is in the store before the agent hears of it, and the agent takes the
same job twice without harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.dataset.checks import DatasetReport, Severity
from shared.errors import AgentRefused, AgentUnreachable, InvalidDataset, InvalidJobSpec
from shared.events import utc_now
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.lifecycle import JobStatus
from shared.store.stored import StoredFile
from tui import exit_codes
from tui.commands.dataset_check import inspect_file, print_report
from tui.commands.output import print_json, say_line
from tui.commands.session import Session, open_session
from tui.commands.watch import watch_in

_FINDINGS_SHOWN = 20
_FINAL_REFUSALS = (409, 422)
"""The agent understood and said no: asking again would not help."""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What was typed. `values` are fields of the job spec; None where nothing was given."""

    dataset: Path
    hyperparameters: tuple[str, ...]
    values: dict[str, Any]
    host: str = "local"
    watch: bool = False
    as_json: bool = False


async def start_job(options: StartOptions) -> int:
    """Check, write down, hand over; then watch, if that was asked for."""
    spec = build_spec(options)
    report = inspect_file(
        options.dataset,
        base_model=spec.base_model,
        max_seq_length=spec.hyperparameters.max_seq_length,
        cut_targets=spec.cut_targets,
        over_long=spec.over_long,
    )
    print_report(report, most_findings=_FINDINGS_SHOWN, as_json=options.as_json)
    if report.has_errors:
        raise InvalidDataset(f"{options.dataset}: has errors; nothing was started.")
    async with open_session() as session:
        await session.store.record_file(_stored_file(options.dataset, spec.dataset, report))
        job, is_new = await session.store.add_job(spec, options.host)
        created = False
        if not job.status.is_final:
            created = await _hand_over(session, options.dataset, spec)
        _say_outcome(spec, job.status, was_there=not (is_new or created), options=options)
        if options.watch:
            return await watch_in(session, spec.job_id, as_json=options.as_json)
    return exit_codes.OK


def build_spec(options: StartOptions) -> JobSpec:
    """The complete spec of what was typed.

    Raises:
        InvalidInput: a value that is unknown or out of range, or a file that cannot be read.
    """
    given = {name: value for name, value in options.values.items() if value is not None}
    if given.get("base_model") is not None:
        given["base_model"] = _base_model(given["base_model"])
    given.setdefault("name", options.dataset.stem[:100].ljust(3, "-"))
    given["hyperparameters"] = dict(map(_parse_setting, options.hyperparameters))
    return build_job_spec(DatasetReference.of(options.dataset), given, where="start")


async def _hand_over(session: Session, path: Path, spec: JobSpec) -> bool:
    """Give the job to this machine's agent; True if it was new there."""
    try:
        await session.host.ensure_agent()
        await session.host.put_dataset(path, spec.dataset)
        async with session.host.client() as client:
            return (await client.start(spec)).created
    except AgentUnreachable as error:
        raise AgentUnreachable(
            f"{error} The job is written down as {spec.job_id}: start it again with "
            f"--job-id {spec.job_id}."
        ) from error
    except AgentRefused as refusal:
        if refusal.status_code in _FINAL_REFUSALS:
            await session.store.settle_job(spec.job_id, JobStatus.FAILED, f"refused: {refusal}")
        raise


def _say_outcome(
    spec: JobSpec, status: JobStatus, *, was_there: bool, options: StartOptions
) -> None:
    if options.as_json:
        print_json({"job_id": spec.job_id, "created": not was_there, "status": status.value})
        return
    if was_there:
        say_line(f"{spec.job_id} had been started before ({status}); nothing was changed.")
    else:
        say_line(f"{spec.job_id} started.")
    if not options.watch:
        say_line(f"  brightrun watch {spec.job_id}\n  brightrun show {spec.job_id}")


def _parse_setting(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals:
        raise InvalidJobSpec(f"--set {setting}: write NAME=VALUE, as in learning_rate=1e-4.")
    return name.strip(), value.strip()


def _base_model(typed: str) -> str:
    """A directory becomes absolute, since the trainer runs elsewhere; a name stays a name."""
    path = Path(typed).expanduser()
    return str(path.absolute()) if path.is_dir() else typed


def _stored_file(path: Path, dataset: DatasetReference, report: DatasetReport) -> StoredFile:
    severities = [finding.severity for finding in report.findings]
    return StoredFile(
        sha256=dataset.sha256,
        name=dataset.file_name,
        path=str(path.absolute()),
        size_bytes=dataset.size_bytes,
        conversations=report.conversations,
        turns=report.turns,
        trained_targets=report.trained_targets,
        tokens=report.tokens,
        errors=severities.count(Severity.ERROR),
        warnings=severities.count(Severity.WARNING),
        checked_at=utc_now(),
    )
