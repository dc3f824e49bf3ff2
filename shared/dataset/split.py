"""Splits conversations into train and held-out.

Always by conversation, never by pair: the pairs of one conversation repeat each other's text. What
must not be parted is a *unit*: near-duplicates, and conversations with one id. Each stratum, which
is a persona with an emotional arc, gives its share of units. Which ones is decided by hashes of the
seed and the texts, not by the place in the file: so the same conversations land on the same side in
every run, and nearly all stay where they are when others are added.

It knows nothing of files, tokens or steps. Works on `Member`s too, so that a caller that streams a
large file need not keep its texts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from shared.dataset.clusters import Clusters
from shared.dataset.conversation import Conversation
from shared.dataset.similarity import Sketch, content_hash, near_duplicates, sketch

WANTED_HELD_OUT = 10
"""Units that are held out where the file allows it: with fewer, a difference of held-out losses
says next to nothing."""
LARGEST_LIFT = Fraction(3, 10)
"""Up to this share a small file is held out to come to `WANTED_HELD_OUT`; more would cost the
training too much. From 25 conversations on it gives `FEWEST_THAT_PROVE`, the sample included."""
FEWEST_THAT_PROVE = 8
"""With fewer held-out units no comparison of losses is taken for a proof."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Conversations that are split on their own; empty names where the file says nothing."""

    persona: str
    emotional_arc: str


@dataclass(frozen=True, slots=True)
class Member:
    """What a split needs to know of a conversation: some 400 bytes, whatever its length."""

    conversation_id: str
    stratum: Stratum
    content_hash: bytes
    sketch: Sketch


Unit = tuple[int, ...]
"""Indices of members that stay on one side, in rising order."""


def member_of(conversation: Conversation) -> Member:
    return Member(
        conversation.conversation_id,
        Stratum(conversation.persona, conversation.emotional_arc),
        content_hash(conversation),
        sketch(conversation),
    )


def units_of(members: Sequence[Member]) -> list[Unit]:
    """All members in units, most of them alone; the costly part, the same for every seed."""
    clusters = Clusters(len(members))
    for first, *others in near_duplicates([member.sketch for member in members]):
        for index in others:
            clusters.join(first, index)
    first_of: dict[str, int] = {}
    for index, member in enumerate(members):
        clusters.join(first_of.setdefault(member.conversation_id, index), index)
    return [tuple(cluster) for cluster in clusters.all()]


def choose_held_out(
    members: Sequence[Member], units: Sequence[Unit], eval_fraction: float, seed: int
) -> frozenset[int]:
    """Indices of the members to hold out; see `split` for the rules."""
    ranks = [_digest(seed, member.content_hash.hex()) for member in members]
    strata: dict[Stratum, list[tuple[int, bytes, Unit]]] = {}
    for unit in units:
        first = min(unit, key=ranks.__getitem__)
        # Repeats are trained where possible: held out, they would be one piece of evidence that is
        # counted several times.
        strata.setdefault(members[first].stratum, []).append((len(unit), ranks[first], unit))
    counts = _counts({name: len(its) for name, its in strata.items()}, eval_fraction, seed)
    chosen = (unit for name, its in strata.items() for *_, unit in sorted(its)[: counts[name]])
    return frozenset(index for unit in chosen for index in unit)


def split(
    conversations: Sequence[Conversation], eval_fraction: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """(train, held out), both in file order; at least one conversation stays in train.

    Of the units `eval_fraction` is held out, rounded; in a small file more, up to `LARGEST_LIFT`,
    to come to `WANTED_HELD_OUT`; and at least one where there are two. 0 holds out nothing. Each
    stratum gives its exact share, rounded up or down.
    """
    members = [member_of(conversation) for conversation in conversations]
    held_out = choose_held_out(members, units_of(members), eval_fraction, seed)
    return (
        [item for index, item in enumerate(conversations) if index not in held_out],
        [item for index, item in enumerate(conversations) if index in held_out],
    )


def share_of(unit_count: int, eval_fraction: float) -> Fraction:
    """The share of the units that is held out, lifted where a small file would give too few."""
    if eval_fraction == 0 or unit_count < 2:
        return Fraction(0)
    # As it is written: the double next to 0.1 would make 3.0000000000000004 of 30 tenths.
    wanted = Fraction(str(eval_fraction))
    lifted = min(Fraction(WANTED_HELD_OUT, unit_count), LARGEST_LIFT)
    # The first bound holds out one of few, the second leaves one to train.
    least, most = Fraction(1, unit_count), Fraction(unit_count - 1, unit_count)
    return min(max(wanted, lifted, least), most)


def _counts(sizes: dict[Stratum, int], eval_fraction: float, seed: int) -> dict[Stratum, int]:
    """How many units each stratum holds out: its exact share rounded down, or up for some.

    Those rounded up are drawn by a number that a stratum keeps for good, divided by what rounding
    down would take from it (sequential Poisson sampling, Ohlsson 1998). So the total is exact,
    large remainders are rounded up more often, and while the share stays the same, one more unit
    changes the count of its own stratum and of one other at most.
    """
    share = share_of(sum(sizes.values()), eval_fraction)
    exact = {name: size * share for name, size in sizes.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    rests = {name: exact[name] - count for name, count in counts.items() if exact[name] > count}
    missing = math.floor(sum(exact.values()) + Fraction(1, 2)) - sum(counts.values())
    drawn = sorted(rests, key=lambda name: _number_of(seed, name) / rests[name])
    for name in drawn[:missing]:
        counts[name] += 1
    return counts


def _number_of(seed: int, stratum: Stratum) -> float:
    """Between 0 and 1."""
    digest = _digest(seed, stratum.persona, stratum.emotional_arc)
    return int.from_bytes(digest[:8]) / 2**64


def _digest(seed: int, *parts: str) -> bytes:
    # Bytes that JSON can smuggle into a text, lone surrogates, must not stop a split.
    text = "\0".join((str(seed), *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
