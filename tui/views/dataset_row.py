"""One training file of the registry as a row of a table: short texts, all of them cleaned."""

from __future__ import annotations

from dataclasses import dataclass

from shared.clean_text import clean_line
from shared.number_text import date_and_clock, number, size
from shared.store.stored import StoredFile
from tui.services.dataset_registry import FileState, KnownFile

HASH_CHARACTERS = 12
"""Enough of a hash to name a file."""

_STATE_WORDS = {FileState.HERE: "", FileState.MODIFIED: "modified since", FileState.GONE: "gone"}


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """What a table shows of a file."""

    sha256: str
    name: str
    shape: str
    size: str
    conversations: str
    targets: str
    tokens: str
    errors: int
    warnings: int
    notes: int
    checked: str
    state: str
    """Empty while the file is as it was checked."""
    jobs: str

    @property
    def checked_or_state(self) -> str:
        """When it was checked, or what became of it since."""
        return self.state or self.checked

    @property
    def findings(self) -> str:
        """`2 E, 13 W`; a dash where nothing was found."""
        return ", ".join(text for text, _ in self.finding_parts) or "–"

    @property
    def finding_parts(self) -> list[tuple[str, str]]:
        """Each number with its severity, worst first."""
        counts = {"error": self.errors, "warning": self.warnings, "note": self.notes}
        return [(f"{n:,} {name[0].upper()}", name) for name, n in counts.items() if n]


def dataset_row(known: KnownFile) -> DatasetRow:
    """The row of a file."""
    file = known.file
    return DatasetRow(
        sha256=file.sha256,
        name=clean_line(file.name),
        shape=shape_words(file),
        size=size(file.size_bytes),
        conversations=f"{file.conversations:,}",
        targets=_targets(file),
        tokens=tokens_words(file),
        errors=file.errors,
        warnings=file.warnings,
        notes=sum(file.finding_counts.get("note", {}).values()),
        checked=date_and_clock(file.checked_at),
        state=_STATE_WORDS[known.state],
        jobs=str(len(known.jobs)) if known.jobs else "–",
    )


def shape_words(file: StoredFile) -> str:
    """The shape; of a merged set, how many files went into it."""
    if file.merged_from:
        return f"{len(file.merged_from)} files merged"
    return clean_line(file.shape) or "–"


def tokens_words(file: StoredFile) -> str:
    """Of one epoch, folded; `~` before an estimate."""
    return f"{'~' if file.tokens_are_estimated else ''}{number(file.tokens, ',')}"


def _targets(file: StoredFile) -> str:
    """Those that are trained, of how many."""
    if file.targets in (None, file.trained_targets):
        return f"{file.trained_targets:,}"
    return f"{file.trained_targets:,} of {file.targets:,}"
