"""Splits a training file as a job would, and writes both sides to files of their own. Blocks."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.dataset.convert import Converted, Form, write_converted
from shared.dataset.cut_targets import is_cut
from shared.dataset.reader import TrainingFile, open_training_file
from shared.dataset.shapes import Kind
from shared.dataset.split import Member, Stratum, Unit, choose_held_out, member_of, units_of
from shared.dataset.writing.new_file import refuse_existing
from shared.errors import BrightRunError, InvalidDataset, InvalidInput

OnProgress = Callable[[int, int], None]
"""Takes the bytes done, and those in all."""


@dataclass(frozen=True, slots=True)
class Share:
    """What of a stratum, or of the file, goes where. Targets are those that are trained."""

    train_conversations: int
    train_targets: int
    held_out_conversations: int
    held_out_targets: int


@dataclass(frozen=True, slots=True)
class KeptTogether:
    """Conversations that must not be parted."""

    conversation_ids: tuple[str, ...]
    """Each once, in file order."""
    why: Literal["same id", "same texts", "nearly the same texts"]
    is_held_out: bool


@dataclass(frozen=True, slots=True)
class FileSplit:
    """Which conversations of a file are trained, and which are held out."""

    file: TrainingFile
    strata: dict[Stratum, Share]
    """Those with most conversations first."""
    total: Share
    units: int
    """Conversations, those that are kept together counted once."""
    held_out_units: int
    kept_together: tuple[KeptTogether, ...]
    held_out_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class WrittenSplit:
    """The two files of a split."""

    train: Path
    held_out: Path
    form: Form
    notes: tuple[str, ...]
    """What the source does not hold, or the form cannot."""


def split_file(
    path: Path,
    eval_fraction: float,
    seed: int,
    on_progress: OnProgress = lambda done, total: None,
) -> FileSplit:
    """Split as a job with this fraction and seed does.

    Raises:
        InvalidDataset: something in the file cannot be read.
    """
    file = open_training_file(path)
    members: list[Member] = []
    targets = array("I")
    conversations = file.conversations(
        on_progress=lambda done_bytes: on_progress(done_bytes, file.size_bytes)
    )
    for conversation in conversations:
        members.append(member_of(conversation))
        targets.append(sum(not is_cut(pair) for pair in conversation.targets))
    units = units_of(members)
    held_out = choose_held_out(members, units, eval_fraction, seed)
    strata: dict[Stratum, list[int]] = {}
    for index, member in enumerate(members):
        strata.setdefault(member.stratum, []).append(index)
    ordered = sorted(
        strata.items(), key=lambda item: (-len(item[1]), item[0].persona, item[0].emotional_arc)
    )
    return FileSplit(
        file=file,
        strata={name: _share(indices, held_out, targets) for name, indices in ordered},
        total=_share(range(len(members)), held_out, targets),
        units=len(units),
        held_out_units=sum(unit[0] in held_out for unit in units),
        kept_together=tuple(
            _kept_together(unit, members, held_out) for unit in units if len(unit) > 1
        ),
        held_out_ids=frozenset(members[index].conversation_id for index in held_out),
    )


def write_split(split: FileSplit, directory: Path, form: Form | None = None) -> WrittenSplit:
    """Write `NAME-train` and `NAME-held-out` to the directory, which is made where it is missing.

    Both or none; `form` is that of the source, or what is nearest to it, if None.

    Raises:
        InvalidInput: one of the files is there already, or cannot be written.
        InvalidDataset: nothing is held out, or the form cannot say what the file holds.
    """
    source = split.file
    if not split.held_out_ids:
        raise InvalidDataset(f"{source.path}: nothing is held out, so there is nothing to write.")
    form = form or _own_form(source)
    train, held_out = (
        directory / f"{source.path.stem}-{side}{form.suffix}" for side in ("train", "held-out")
    )
    refuse_existing(train)
    refuse_existing(held_out)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{directory}: cannot be made ({error.strerror}).") from error
    notes = _write(source, train, form, lambda its: its not in split.held_out_ids).notes
    try:
        notes += _write(source, held_out, form, lambda its: its in split.held_out_ids).notes
    except (BrightRunError, KeyboardInterrupt):
        train.unlink()  # One side alone would look like the whole.
        raise
    return WrittenSplit(train, held_out, form, tuple(dict.fromkeys(notes)))


def _write(
    source: TrainingFile, target: Path, form: Form, is_wanted: Callable[[str], bool]
) -> Converted:
    return write_converted(source, target, form, lambda raw: is_wanted(raw.conversation_id))


def _own_form(source: TrainingFile) -> Form:
    shape = source.layout
    if shape.kind not in (Kind.BRIGHTRUN, Kind.ENRICHED):
        return Form.OPENAI
    return Form.BRIGHTRUN_JSONL if shape.is_lines else Form.BRIGHTRUN_JSON


def _share(indices: list[int] | range, held_out: frozenset[int], targets: array[int]) -> Share:
    counts: Counter[bool] = Counter()
    sums: Counter[bool] = Counter()
    for index in indices:
        counts[index in held_out] += 1
        sums[index in held_out] += targets[index]
    return Share(counts[False], sums[False], counts[True], sums[True])


def _kept_together(unit: Unit, members: list[Member], held_out: frozenset[int]) -> KeptTogether:
    ids = tuple(dict.fromkeys(members[index].conversation_id for index in unit))
    why: Literal["same id", "same texts", "nearly the same texts"] = "nearly the same texts"
    if len({members[index].content_hash for index in unit}) == 1:
        why = "same texts"
    elif len(ids) == 1:
        why = "same id"
    return KeptTogether(ids, why, unit[0] in held_out)
