"""Which conversations say the same, or nearly the same: fingerprints that fit in memory.

A *sketch* is the bottom-k kind (Broder, 1997): of all shingles, runs of four words, the 64 with the
smallest hashes. Two sketches give a good estimate of how many of their shingles two conversations
share, and 100,000 sketches take 30 MB, where the texts may take a gigabyte. The usual package for
it brings numpy and scipy, larger than all of the console and slow to import; what is needed of it
is short and stands here.

It knows nothing of files, of splits, or of what is done about repeats.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from zlib import crc32

from shared.dataset.clusters import Clusters
from shared.dataset.conversation import Conversation, Message
from shared.dataset.folding import fold

Sketch = bytes
"""Distinct 32-bit hashes in rising order, big-endian, so that bytes sort as the numbers do."""

NEAR_DUPLICATE_SIMILARITY = 0.7
"""Share of common shingles (Jaccard) from which two conversations count as nearly the same.

One message of ten rewritten leaves 0.82, far enough above it that the error of the estimate hides
few. Different conversations of one file stay below 0.1: 0.05 in the real file EQ-12 (2026-11)."""

_SHINGLE_WORDS = 4
_SKETCH_ELEMENTS = 64
"""The estimate's standard error is then 0.06 at the threshold."""
_FEWEST_SHINGLES = 24
"""Below it a conversation counts as the same only if all its words are: with so few shingles, a
different name or number, and so another question, would already weigh less than the threshold."""
_HASH_BYTES = 4
_MOST_HOLDERS = 8
"""Sketches that share an element and are still compared each with each; see `_candidates`."""

_WORD = re.compile(r"\w+")
_ROLE_SEEDS = {"system": 0, "user": 1, "assistant": 2}


def content_hash(conversation: Conversation) -> bytes:
    """16 bytes that are equal for equal roles and texts, system prompts included.

    Ids, places, persona, arc and topic have no part in it, nor has the shape of the file: a user's
    last message that nobody answers is left out, since not all shapes keep it.
    """
    digest = hashlib.sha256()
    for messages in _rows(conversation):
        digest.update(struct.pack(">Q", len(messages)))
        for message in messages:
            content = message.content.encode("utf-8", "surrogatepass")
            digest.update(struct.pack(">BQ", _ROLE_SEEDS[message.role], len(content)))
            digest.update(content)
    return digest.digest()[:16]


def sketch(conversation: Conversation) -> Sketch:
    """At most 256 bytes, the same in every process; case, punctuation and system prompts are out.

    A short conversation gets elements made of all its words together, which it shares with its
    equals and with nobody else.
    """
    told = {
        message: None
        for messages in _rows(conversation)
        for message in messages
        if message.role != "system"
    }
    smallest = _smallest([value for message in told for value in _shingles(message)])
    return _pack(smallest) if len(smallest) >= _FEWEST_SHINGLES else _sketch_of_all_words(told)


def similarity(first: Sketch, second: Sketch) -> float:
    """About the share of their shingles that two conversations have in common, 0 to 1."""
    one, other = set(_elements(first)), set(_elements(second))
    smallest = sorted(one | other)[:_SKETCH_ELEMENTS]
    common = one & other
    return sum(element in common for element in smallest) / len(smallest) if smallest else 1.0


def near_duplicates(sketches: Sequence[Sketch]) -> list[list[int]]:
    """Clusters of two and more indices, each in rising order, those with the first indices first.

    What is near to one member of a cluster belongs to it. Equal sketches are always together.
    """
    equal: dict[Sketch, list[int]] = {}
    for index, its in enumerate(sketches):
        equal.setdefault(its, []).append(index)
    distinct = sorted(equal)
    clusters = Clusters(len(distinct))
    for one, other in _candidates(distinct):
        if not clusters.are_joined(one, other) and _is_near(distinct[one], distinct[other]):
            clusters.join(one, other)
    found = (
        sorted(index for rank in cluster for index in equal[distinct[rank]])
        for cluster in clusters.all()
    )
    return sorted(indices for indices in found if len(indices) > 1)


def _rows(conversation: Conversation) -> list[tuple[Message, ...]]:
    """The messages of each folded row; of the longest context where there is no target."""
    rows = [row.messages for row in fold(conversation)]
    return rows or [max((pair.context for pair in conversation.pairs), key=len, default=())]


def _words(message: Message) -> bytes:
    """The words in lower case, a space behind each."""
    words = _WORD.findall(message.content.casefold())
    return " ".join([*words, ""]).encode("utf-8", "surrogatepass")


def _shingles(message: Message) -> list[int]:
    """Hashes of the runs of four words; a message with fewer words is one shingle."""
    text, seed = _words(message), _ROLE_SEEDS[message.role]
    starts = list(accumulate([len(word) + 1 for word in text.split(b" ")], initial=0))
    ends = starts[_SHINGLE_WORDS:-1]
    if not ends:
        return [crc32(text, seed)]
    return [crc32(text[begin:end], seed) for begin, end in zip(starts, ends, strict=False)]


def _smallest(hashes: list[int]) -> list[int]:
    """The distinct ones that make a sketch, in rising order."""
    # Hashes are spread evenly: four times as many as are needed lie below this.
    limit = 4 * _SKETCH_ELEMENTS * 2**32 // max(len(hashes), 1)
    low = {value for value in hashes if value < limit}
    return sorted(low if len(low) >= _SKETCH_ELEMENTS else set(hashes))[:_SKETCH_ELEMENTS]


def _sketch_of_all_words(messages: Iterable[Message]) -> Sketch:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(message.role.encode() + b" " + _words(message) + b"\n")
    return _pack(sorted(set(_elements(digest.digest()))))


def _pack(elements: Sequence[int]) -> Sketch:
    return struct.pack(f">{len(elements)}I", *elements)


def _elements(its: Sketch) -> tuple[int, ...]:
    return struct.unpack(f">{len(its) // _HASH_BYTES}I", its)


def _candidates(sketches: Sequence[Sketch]) -> Iterator[tuple[int, int]]:
    """Pairs of ranks among sorted sketches that may be near-duplicates; a pair may come twice.

    Of the 64 smallest elements of two near-duplicates together at most 19 are in one sketch only,
    so one of the first 20 is in both: only these are looked up. An element that is in many sketches
    (of a greeting that all use) would make a pair of each two of them. There, each is paired with
    the next ones in the order of the sketches: near-duplicates mostly begin alike, and have rarer
    elements in common besides.
    """
    different = int(_SKETCH_ELEMENTS * (1 - NEAR_DUPLICATE_SIMILARITY))
    # One sorted list of numbers takes a third of the memory of a dictionary of lists.
    holders = sorted(
        element << 32 | rank
        for rank, its in enumerate(sketches)
        for element in _elements(its[: (different + 1) * _HASH_BYTES])
    )
    for _, run in groupby(holders, key=lambda holder: holder >> 32):
        ranks = [holder & 0xFFFFFFFF for holder in run]
        following = len(ranks) if len(ranks) <= _MOST_HOLDERS else 2
        for place, one in enumerate(ranks):
            for other in ranks[place + 1 : place + 1 + following]:
                yield one, other


def _is_near(first: Sketch, second: Sketch) -> bool:
    common = len(set(_elements(first)).intersection(_elements(second)))
    together = (len(first) + len(second)) // _HASH_BYTES - common
    # Cheaper than the estimate, and above it: most candidates end here.
    if common < NEAR_DUPLICATE_SIMILARITY * min(_SKETCH_ELEMENTS, together):
        return False
    return similarity(first, second) >= NEAR_DUPLICATE_SIMILARITY
