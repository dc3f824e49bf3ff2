"""Several training files as one training set, kept in the console's home and named by its content.

The same files in the same order are the same set: merging them again gives the same path. Blocks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.clean_text import clean_line
from shared.dataset.merge import Merged, merge
from shared.dataset.reader import open_training_file
from shared.errors import InvalidDataset
from shared.job_spec import DatasetReference
from shared.manifest import sync_directory
from shared.number_text import many
from shared.store.stored import MergedSource

_LONGEST_STEM = 60


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A merged set on the disk, and what went into it."""

    path: Path
    sources: tuple[MergedSource, ...]
    merged: Merged


def make_training_set(paths: Sequence[Path], folder: Path) -> TrainingSet:
    """Merge these files, in this order, into `folder/HASH/NAME.jsonl`.

    Raises:
        InvalidInput: a file that cannot be read, or a set that cannot be written.
    """
    sources = tuple(_source(path) for path in paths)
    if len({source.sha256 for source in sources}) < len(sources):
        raise InvalidDataset("the same training file is named twice: name each of them once.")
    # Built under its own name, since the set may name itself in its first line.
    work = folder / f".{os.getpid()}-{os.urandom(4).hex()}.part"
    name = set_name(paths)
    try:
        work.mkdir(parents=True, mode=0o700)
        try:
            merged = merge([open_training_file(path) for path in paths], work / name)
            kept = folder / DatasetReference.of(work / name).sha256
            if not (kept / name).exists():
                shutil.rmtree(kept, ignore_errors=True)
                os.replace(work, kept)
                sync_directory(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise InvalidDataset(f"{folder}: cannot be written ({error.strerror}).") from error
    return TrainingSet(kept / name, sources, merged)


def set_name(paths: Sequence[Path]) -> str:
    """`A+B.jsonl`; of many files the first ones."""
    stems = [clean_line(path.stem).replace("/", "-") or "file" for path in paths]
    name = "+".join(stems)
    if len(name) > _LONGEST_STEM:
        room = _LONGEST_STEM // 2
        name = f"{stems[0][:room]}+{len(stems) - 1} more"
    return f"{name}.jsonl"


def merged_in_words(made: TrainingSet) -> str:
    """What was made of which files, in one sentence."""
    merged = made.merged
    words = [
        f"{many(merged.conversations, 'conversation')} of {many(len(made.sources), 'file')}",
        f"{many(len(merged.duplicates), 'duplicate')} left out",
    ]
    if merged.renamed:
        words.append(f"{many(len(merged.renamed), 'conversation')} got another id")
    return f"{clean_line(made.path.name)}: {', '.join(words)}."


def _source(path: Path) -> MergedSource:
    reference = DatasetReference.of(path)
    return MergedSource(reference.sha256, reference.file_name)
