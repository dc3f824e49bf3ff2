"""Checks a training file as a stream, with progress. Blocks; knows nothing of how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from shared.chat_format import ChatEncoder
from shared.dataset.checks.between_files import leaks, repeats
from shared.dataset.checks.checker import Checker
from shared.dataset.checks.identity import Contents
from shared.dataset.findings import Finding, FindingLog, Severity, UnreadableDataset
from shared.dataset.reader import TrainingFile, open_training_file
from shared.dataset.report import DatasetReport
from shared.errors import InvalidDataset
from shared.job_spec import DatasetReference, JobSpec
from tui.services.inspection import CutTargets, OverLong
from tui.services.training_plan import Outline

OnProgress = Callable[[int, int], None]
"""Takes the bytes done, and those in all."""

_Comparison = Callable[[Contents, Contents], list[Finding]]

NOT_READABLE = "not readable"
"""Stands for the shape of a file of which nothing can be read."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What a job would do with the file."""

    base_model: str
    max_seq_length: int = 4096
    cut_targets: CutTargets = "exclude"
    over_long: OverLong = "refuse"


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A training file and what the check said of it."""

    path: Path
    dataset: DatasetReference | None
    """Name, hash and size of the bytes that were checked; None where they cannot be read."""
    base_model: str
    report: DatasetReport
    contents: Contents | None = None
    """What tells its conversations apart from those of other files; None where nothing was read."""
    outline: Outline | None = None
    """What a plan of its training needs."""


@dataclass(frozen=True, slots=True)
class BetweenFiles:
    """What was found in `file` that is in `other` as well."""

    file: CheckedFile
    other: CheckedFile
    findings: tuple[Finding, ...]
    """At most as many of a code as a report keeps; places are those in `file`."""
    finding_counts: dict[Severity, dict[str, int]]


def check_training_file(
    path: Path,
    settings: CheckSettings,
    encoder: ChatEncoder | None,
    on_progress: OnProgress = lambda done, total: None,
) -> CheckedFile:
    """Read and check the file; one that cannot be read at all gives a report of one error.

    Memory does not grow with the size of a JSONL file. Without `encoder`, tokens are estimates.
    """
    reference = None
    try:
        file = open_training_file(path)
        began = _stamp(path)
        reference = DatasetReference.of(path)
        report, contents, outline = _look(file, settings, encoder, on_progress)
        if _stamp(path) != began:
            raise InvalidDataset(f"{path}: changed while it was read. Check it again.")
    except InvalidDataset as error:
        report = _report_of_unreadable(path, settings, error)
        return CheckedFile(path, reference, settings.base_model, report)
    return CheckedFile(path, reference, settings.base_model, report, contents, outline)


def settings_of(spec: JobSpec) -> CheckSettings:
    """As the job will be trained."""
    return CheckSettings(
        spec.base_model, spec.hyperparameters.max_seq_length, spec.cut_targets, spec.over_long
    )


def readable(checked: CheckedFile) -> DatasetReference:
    """What was checked, by its hash.

    Raises:
        InvalidDataset: nothing of the file could be read.
    """
    if checked.dataset is None or checked.report.shape == NOT_READABLE:
        raise UnreadableDataset(str(checked.path), checked.report.findings[0])
    return checked.dataset


def compare_files(
    train: Sequence[CheckedFile], held_out: Sequence[CheckedFile]
) -> list[BetweenFiles]:
    """Conversations in two training files (warnings), or trained and held out (errors)."""
    pairs: list[tuple[CheckedFile, CheckedFile, _Comparison]] = [
        (held, trained, leaks) for held in held_out for trained in train
    ]
    pairs += [(second, first, repeats) for first, second in combinations(train, 2)]
    found = []
    for file, other, compare in pairs:
        log = FindingLog()
        if file.contents and other.contents:
            log.extend(compare(other.contents, file.contents))
        if log.findings:
            found.append(BetweenFiles(file, other, log.findings, log.counts))
    return found


def _stamp(path: Path) -> tuple[int, int]:
    """Tells a file that was written to from one that was not, without reading it."""
    try:
        found = path.stat()
    except OSError as error:
        raise InvalidDataset(f"{path}: cannot be read ({error.strerror}).") from error
    return found.st_mtime_ns, found.st_size


def _look(
    file: TrainingFile,
    settings: CheckSettings,
    encoder: ChatEncoder | None,
    on_progress: OnProgress,
) -> tuple[DatasetReport, Contents, Outline]:
    checker = Checker(
        max_seq_length=settings.max_seq_length,
        cut_targets=settings.cut_targets,
        over_long=settings.over_long,
        encoder=encoder,
    )
    conversations = file.conversations(
        checker.problem, lambda done: on_progress(done, file.size_bytes)
    )
    outline = Outline()
    for conversation in conversations:
        checker.add(conversation)
        outline.add(conversation, checker)
    report = checker.finish(file.shape, file.declared)
    outline.complete(checker)
    return report, checker.contents, outline


def _report_of_unreadable(
    path: Path, settings: CheckSettings, error: InvalidDataset
) -> DatasetReport:
    if isinstance(error, UnreadableDataset):
        finding = error.finding
    else:
        message = str(error).removeprefix(f"{path}: ")
        finding = Finding(Severity.ERROR, "unreadable", message, "")
    return DatasetReport(
        shape=NOT_READABLE,
        conversations=0,
        turns=0,
        targets=0,
        trained_targets=0,
        rows=0,
        tokens=0,
        longest_tokens=0,
        tokens_are_estimated=True,
        findings=(finding,),
        finding_counts={Severity.ERROR: {finding.code: 1}},
        max_seq_length=settings.max_seq_length,
    )
