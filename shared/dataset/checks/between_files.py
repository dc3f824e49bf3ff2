"""What stands in two files: conversations that are trained and held out, or trained twice."""

from __future__ import annotations

from collections.abc import Iterator

from shared.dataset.checks.identity import Contents
from shared.dataset.findings import Finding, Severity
from shared.dataset.similarity import near_duplicates


def leaks(train: Contents, held_out: Contents) -> list[Finding]:
    """Held-out conversations that are trained as well; places are those of the held-out file."""
    return [
        held_out.finding(
            theirs,
            Severity.ERROR,
            "leak_between_files",
            f"this held-out conversation is trained too: the training file has {_as(is_same)} "
            f"{train.names([ours])}.",
            "Remove it from one of the two files: what was trained proves nothing.",
        )
        for theirs, ours, is_same in _shared(held_out, train)
    ]


def repeats(first: Contents, second: Contents) -> list[Finding]:
    """Conversations of the second training file that the first one has already."""
    return [
        second.finding(
            theirs,
            Severity.WARNING,
            "repeat_between_files",
            f"another file of this training set has {_as(is_same)} {first.names([ours])}.",
            "`brightrun dataset merge` leaves out equal ones. Remove those that are nearly equal."
            if is_same
            else "Keep one of them, or make them differ.",
        )
        for theirs, ours, is_same in _shared(second, first)
    ]


def _as(is_same: bool) -> str:
    return "the same as" if is_same else "nearly the same as"


def _shared(wanted: Contents, other: Contents) -> Iterator[tuple[int, int, bool]]:
    """Each conversation of `wanted` that `other` has: its index, that of the other, if equal."""
    place_of = {content: index for index, content in enumerate(other.hashes) if content}
    near = _near(wanted, other)
    for index, content in enumerate(wanted.hashes):
        if content in place_of:
            yield index, place_of[content], True
        elif index in near:
            yield index, near[index], False


def _near(wanted: Contents, other: Contents) -> dict[int, int]:
    """Index in `wanted` -> that of the first conversation in `other` of the same cluster."""
    ours = [index for index, content in enumerate(wanted.hashes) if content]
    theirs = [index for index, content in enumerate(other.hashes) if content]
    sketches = [wanted.sketches[index] for index in ours]
    sketches += [other.sketches[index] for index in theirs]
    found: dict[int, int] = {}
    for cluster in near_duplicates(sketches):
        outside = [theirs[index - len(ours)] for index in cluster if index >= len(ours)]
        if outside:
            found |= {ours[index]: min(outside) for index in cluster if index < len(ours)}
    return found
