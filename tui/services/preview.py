"""Counts what a new job would train while its settings are still being typed.

Reads and counts in one thread of its own: a look that nobody waits for any more is dropped before
it begins, and a file is read again only when it has changed.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared.chat_format import ChatEncoder
from shared.dataset.checks import DatasetReport, check_dataset
from shared.dataset.conversation import Dataset
from shared.dataset.reader import read_dataset
from shared.errors import InvalidBaseModel, InvalidDataset
from shared.hyperparameters import Hyperparameters
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.number_text import size
from tui.services.hosts.names import LOCAL
from tui.services.inspection import (
    CutTargets,
    OverLong,
    TrainingPlan,
    encoder_of,
    plan_training,
)

_LARGEST_FILE_BYTES = 2_000_000_000
"""Read whole into memory, a file needs several times its size. Real ones have megabytes."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look into. None for settings that cannot be counted with yet."""

    dataset: str
    base_model: str
    max_seq_length: int | None
    hyperparameters: Hyperparameters | None
    cut_targets: CutTargets = "exclude"
    over_long: OverLong = "refuse"
    host: str = LOCAL


@dataclass(frozen=True, slots=True)
class Preview:
    """What was found; None where settings are missing or the file cannot be read."""

    base_model: str
    """As the job will name it."""
    report: DatasetReport | None = None
    plan: TrainingPlan | None = None
    dataset_problem: str = ""
    base_model_problem: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A complete job, checked against the bytes that its spec names."""

    path: Path
    spec: JobSpec
    report: DatasetReport
    plan: TrainingPlan


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Tells whether a file is still the one that was read."""

    path: Path
    modified_ns: int
    size_bytes: int


class Previewer:
    """Looks into training files, one look at a time. Close it when done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="preview")
        self._dataset: tuple[_Stamp, Dataset] | None = None
        self._encoders: dict[tuple[str, str], ChatEncoder] = {}
        self._counted: dict[str, tuple[object, Any]] = {}

    def close(self) -> None:
        """Drop what waits; a look under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def preview(self, wanted: Wanted) -> Preview:
        """What a job would train; what is wrong with its files stands in the result."""
        return await self._in_thread(lambda: self._preview(wanted))

    async def prepare(self, dataset: str, values: dict[str, Any], host: str = LOCAL) -> Prepared:
        """The complete job for this host, with the file read and hashed afresh.

        Raises:
            InvalidInput: a value that is wrong, or a file that cannot be read.
        """
        return await self._in_thread(lambda: self._prepare(dataset, values, host))

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _preview(self, wanted: Wanted) -> Preview:
        base_model, encoder, base_model_problem = wanted.base_model, None, ""
        try:
            base_model = named_base_model(wanted.base_model, wanted.host)
            encoder = self._encoder(base_model, wanted.host)
        except InvalidBaseModel as error:
            base_model_problem = str(error).removeprefix(f"{base_model}: ")
        report, plan, dataset_problem = None, None, ""
        try:
            report, plan = self._look(wanted, base_model, encoder)
        except InvalidDataset as error:
            dataset_problem = _without_path(str(error), wanted.dataset)
        return Preview(base_model, report, plan, dataset_problem, base_model_problem)

    def _look(
        self, wanted: Wanted, base_model: str, encoder: ChatEncoder | None
    ) -> tuple[DatasetReport | None, TrainingPlan | None]:
        if not wanted.dataset.strip():
            return None, None
        stamp, dataset = self._read(training_file(wanted.dataset))
        if wanted.max_seq_length is None:
            return None, None
        settings = (wanted.cut_targets, wanted.max_seq_length)
        seen = (stamp, base_model, encoder is None, settings)
        report = self._once(
            "report",
            (seen, wanted.over_long),
            lambda: check_dataset(
                dataset,
                max_seq_length=settings[1],
                cut_targets=wanted.cut_targets,
                over_long=wanted.over_long,
                encoder=encoder,
            ),
        )
        hyperparameters = wanted.hyperparameters
        if hyperparameters is None:
            return report, None
        plan = self._once(
            "plan",
            (seen, hyperparameters),
            lambda: plan_training(
                dataset, hyperparameters, cut_targets=wanted.cut_targets, encoder=encoder
            ),
        )
        return report, plan

    def _prepare(self, typed_path: str, values: dict[str, Any], host: str) -> Prepared:
        path = training_file(typed_path)
        values = {**values, "base_model": named_base_model(values["base_model"], host)}
        self._dataset = None  # A file may change without a new time or size.
        stamp, _ = self._read(path)
        spec = build_job_spec(DatasetReference.of(path), values, where="new job")
        if _stamp_of(path) != stamp:
            raise InvalidDataset(f"{path}: changed while it was read. Start again.")
        self._counted.clear()
        report, plan = self._look(
            Wanted(
                str(path),
                spec.base_model,
                spec.hyperparameters.max_seq_length,
                spec.hyperparameters,
                spec.cut_targets,
                spec.over_long,
            ),
            spec.base_model,
            self._encoder(spec.base_model, host),
        )
        assert report is not None and plan is not None  # A spec has all the settings.
        return Prepared(path, spec, report, plan)

    def _read(self, path: Path) -> tuple[_Stamp, Dataset]:
        stamp = _stamp_of(path)
        if self._dataset is None or self._dataset[0] != stamp:
            self._dataset = (stamp, read_dataset(path))
        return self._dataset

    def _encoder(self, base_model: str, host: str) -> ChatEncoder | None:
        """A tokenizer that is not here yet may come with the first job of its model."""
        if (base_model, host) in self._encoders:
            return self._encoders[base_model, host]
        found = encoder_of(base_model, host)
        if found is not None:
            self._encoders[base_model, host] = found
        return found

    def _once(self, what: str, key: object, count: Callable[[], _Result]) -> _Result:
        """The last result, if it was counted of the same things."""
        if what not in self._counted or self._counted[what][0] != key:
            self._counted[what] = (key, count())
        result: _Result = self._counted[what][1]
        return result


def training_file(typed: str) -> Path:
    """The absolute path of what was typed; `~` is the home directory.

    Raises:
        InvalidDataset: not a file that can be read whole.
    """
    path = _absolute(typed)
    _stamp_of(path)
    return path


def named_base_model(typed: str, host: str = LOCAL) -> str:
    """A directory becomes absolute, since the trainer runs elsewhere; a name stays a name.

    On another host than this machine an absolute path is taken as it is: nobody here can look.

    Raises:
        InvalidBaseModel: spelled like a directory, and there is none, or nobody knows where.
    """
    typed = typed.strip()
    if host != LOCAL:
        if typed.startswith(("~", "./", "../")):
            raise InvalidBaseModel(
                f"{typed}: write the absolute path that the directory has on {host}."
            )
        return typed
    try:
        path = _absolute(typed)
        if path.is_dir():
            return str(path)
    except (InvalidDataset, OSError, ValueError):
        pass
    if typed.startswith(("/", "~", "./", "../")):
        raise InvalidBaseModel(f"{typed}: there is no such directory.")
    return typed


def _without_path(message: str, typed: str) -> str:
    """The message for where the path stands beside it."""
    try:
        return message.removeprefix(f"{_absolute(typed)}: ")
    except InvalidDataset:
        return message


def _absolute(typed: str) -> Path:
    try:
        return Path(typed.strip()).expanduser().absolute()
    except RuntimeError as error:  # `~nobody`
        raise InvalidDataset(f"{typed.strip()}: {error}") from error


def _stamp_of(path: Path) -> _Stamp:
    try:
        str(path).encode()
        found = path.stat()
    except OSError as error:
        raise InvalidDataset(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InvalidDataset(f"{path}: no file can be read by this name ({error}).") from error
    if stat.S_ISDIR(found.st_mode):
        raise InvalidDataset(f"{path}: is a directory: go on to the file's name.")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidDataset(f"{path}: is not a regular file.")
    if found.st_size > _LARGEST_FILE_BYTES:
        raise InvalidDataset(
            f"{path}: has {size(found.st_size)}; more than {size(_LARGEST_FILE_BYTES)} "
            "cannot be looked into here."
        )
    return _Stamp(path, found.st_mtime_ns, found.st_size)
