"""Counts what a new job would train while its settings are still being typed.

Reads and counts in one thread of its own: a look that nobody waits for any more is dropped, and a
file is read again only when it has changed, or would be read differently.
"""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared.chat_format import ChatEncoder
from shared.dataset.report import DatasetReport
from shared.errors import BrightRunError, DatasetChanged, InvalidBaseModel, InvalidDataset
from shared.hyperparameters import Hyperparameters
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.number_text import size
from tui.services.dataset_check import (
    CheckedFile,
    CheckSettings,
    check_training_file,
    readable,
    settings_of,
)
from tui.services.hosts.names import LOCAL
from tui.services.inspection import CutTargets, OverLong, counting_with
from tui.services.training_plan import TrainingPlan, plan_training

_LARGEST_FILE_BYTES = 2_000_000_000
"""A JSON document is held as text while it is read. Real ones have megabytes."""

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
    checked: CheckedFile | None = None
    """The report with the bytes that it is of."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A complete job, checked against the bytes that its spec names."""

    path: Path
    spec: JobSpec
    report: DatasetReport
    plan: TrainingPlan
    checked: CheckedFile | None = None
    """The report with the bytes that it is of."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Tells whether a file is still the one that was read."""

    path: Path
    modified_ns: int
    size_bytes: int


class _Dropped(BrightRunError):
    """Ends a look that nobody waits for any more; never leaves this module."""


class Previewer:
    """Looks into training files, one look at a time. Close it when done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="preview")
        self._encoders: dict[tuple[str, str], ChatEncoder] = {}
        self._counted: dict[str, tuple[object, Any]] = {}
        self._looks: set[threading.Event] = set()

    def close(self) -> None:
        """Drop what waits, and stop the look under way."""
        for dropped in self._looks:
            dropped.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def preview(self, wanted: Wanted) -> Preview:
        """What a job would train; what is wrong with its files stands in the result."""
        return await self._in_thread(lambda dropped: self._preview(wanted, dropped))

    async def prepare(self, dataset: str, values: dict[str, Any], host: str = LOCAL) -> Prepared:
        """The complete job for this host, with the file read and hashed afresh.

        Raises:
            InvalidInput: a value that is wrong, or a file that cannot be read.
        """
        return await self._in_thread(lambda dropped: self._prepare(dataset, values, host, dropped))

    async def _in_thread(self, work: Callable[[threading.Event], _Result]) -> _Result:
        dropped = threading.Event()
        self._looks.add(dropped)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, work, dropped)
        finally:  # A look that was cancelled ends at its next conversation.
            dropped.set()
            self._looks.discard(dropped)

    def _preview(self, wanted: Wanted, dropped: threading.Event) -> Preview:
        base_model, encoder, base_model_problem = wanted.base_model, None, ""
        try:
            base_model = named_base_model(wanted.base_model, wanted.host)
            encoder = self._encoder(base_model, wanted.host)
        except InvalidBaseModel as error:
            base_model_problem = str(error).removeprefix(f"{base_model}: ")
        if not wanted.dataset.strip():
            return Preview(base_model, base_model_problem=base_model_problem)
        checked, plan, dataset_problem = None, None, ""
        try:
            path = training_file(wanted.dataset)
            if wanted.max_seq_length is not None:
                settings = CheckSettings(
                    base_model, wanted.max_seq_length, wanted.cut_targets, wanted.over_long
                )
                checked = self._check(path, settings, encoder, dropped)
                plan = self._plan(checked, wanted.hyperparameters)
        except InvalidDataset as error:
            dataset_problem = _without_path(str(error), wanted.dataset)
        report = None if checked is None else checked.report
        return Preview(base_model, report, plan, dataset_problem, base_model_problem, checked)

    def _prepare(
        self, typed_path: str, values: dict[str, Any], host: str, dropped: threading.Event
    ) -> Prepared:
        path = training_file(typed_path)
        values = {**values, "base_model": named_base_model(values["base_model"], host)}
        spec = build_job_spec(DatasetReference.of(path), values, where="new job")
        self._counted.clear()  # A file may change without a new time or size.
        encoder = self._encoder(spec.base_model, host, may_fetch=True)
        checked = self._check(path, settings_of(spec), encoder, dropped)
        if checked.dataset != spec.dataset:
            raise DatasetChanged(f"{path}: changed while it was read. Start again.")
        plan = self._plan(checked, spec.hyperparameters)
        assert plan is not None  # A spec has all the settings.
        return Prepared(path, spec, checked.report, plan, checked)

    def _check(
        self,
        path: Path,
        settings: CheckSettings,
        encoder: ChatEncoder | None,
        dropped: threading.Event,
    ) -> CheckedFile:
        def go_on(done: int, total: int) -> None:
            if dropped.is_set():
                raise _Dropped

        checked = self._once(
            "check",
            (_stamp_of(path), settings, encoder is None),
            lambda: check_training_file(path, settings, encoder, go_on),
        )
        readable(checked)
        return checked

    def _plan(
        self, checked: CheckedFile, hyperparameters: Hyperparameters | None
    ) -> TrainingPlan | None:
        outline = checked.outline
        if outline is None or hyperparameters is None:
            return None
        return self._once(
            "plan",
            (id(outline), hyperparameters),
            lambda: plan_training(outline, hyperparameters),
        )

    def _encoder(
        self, base_model: str, host: str, *, may_fetch: bool = False
    ) -> ChatEncoder | None:
        """A tokenizer that is not here yet may come with the first job of its model."""
        if (base_model, host) in self._encoders:
            return self._encoders[base_model, host]
        found = counting_with(base_model, host, may_fetch=may_fetch).encoder
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
