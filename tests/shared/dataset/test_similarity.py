"""Fingerprints of conversations: what is the same, what is nearly the same, and what is not."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset import sample
from shared.dataset.conversation import Conversation, Message, TrainingPair
from shared.dataset.reader import read_dataset
from shared.dataset.similarity import (
    NEAR_DUPLICATE_SIMILARITY,
    content_hash,
    near_duplicates,
    similarity,
    sketch,
)
from tests.shared.dataset.documents import asked, branched, talk

SAMPLE = Path(sample.__file__).parent
WORDS = [f"word{number}" for number in range(3000)]


def long_texts(seed: int, turns: int = 6, words: int = 40) -> list[str]:
    """What two people say who never say the same."""
    random = Random(seed)
    return [" ".join(random.choices(WORDS, k=words)) for _ in range(turns)]


def clusters(*conversations: Conversation) -> list[list[int]]:
    return near_duplicates([sketch(conversation) for conversation in conversations])


# --- content_hash -----------------------------------------------------------------------------


def test_ids_places_and_scaffolding_have_no_part_in_the_hash() -> None:
    one = talk("a", "Hi", "Hello", system="Be kind.")
    other = replace(one, conversation_id="b", location="line 7", persona="p", emotional_arc="x")
    assert content_hash(one) == content_hash(other)
    assert len(content_hash(one)) == 16


@pytest.mark.parametrize(
    "other",
    [
        talk("a", "Hi", "Hello!", system="Be kind."),
        talk("a", "hi", "Hello", system="Be kind."),
        talk("a", "Hi", "Hello", system="Be brief."),
        talk("a", "Hi", "Hello"),
        talk("a", "Be kind.", "Hi", "Hello", "."),
        talk("a", "HiHello", "", system="Be kind."),
        branched("a", asked(2, "Hi", "Hello", "And?", target="Hello", system="Be kind.")),
    ],
)
def test_any_other_text_gives_another_hash(other: Conversation) -> None:
    assert content_hash(other) != content_hash(talk("a", "Hi", "Hello", system="Be kind."))


def test_another_role_gives_another_hash() -> None:
    swapped = TrainingPair(2, (Message("assistant", "Hi"),), "Hello", "turn 2")
    assert content_hash(branched("a", swapped)) != content_hash(talk("a", "Hi", "Hello"))


def test_a_branch_changes_the_hash() -> None:
    first, second = asked(2, "Hi", target="Hello"), asked(4, "Bye", target="See you")
    others = [
        branched("a", first),
        branched("a", second),
        talk("a", "Hi", "Hello", "Bye", "See you"),
    ]
    assert content_hash(branched("a", first, second)) not in map(content_hash, others)


def test_the_shape_of_the_file_changes_neither_hash_nor_sketch() -> None:
    both = [
        [
            (item.conversation_id, content_hash(item), sketch(item))
            for item in read_dataset(SAMPLE / f"brightrun-sample.{suffix}").conversations
        ]
        for suffix in ("json", "jsonl")
    ]
    assert both[0] == both[1]


def test_another_process_makes_the_same_fingerprints() -> None:
    code = (
        "from tests.shared.dataset.test_similarity import *\n"
        "it = talk('a', *long_texts(1))\n"
        "print(content_hash(it).hex(), sketch(it).hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    it = talk("a", *long_texts(1))
    assert printed == [content_hash(it).hex(), sketch(it).hex()]


@pytest.mark.parametrize(
    "text",
    ["", "\ud800", "\0", "。", "İß", "x" * 100_000, "a " * 20_000],
    ids=["nothing", "lone surrogate", "NUL", "no word", "cases", "one word", "one word again"],
)
def test_any_text_has_fingerprints(text: str) -> None:
    it = talk("a", text, text)
    assert (len(content_hash(it)), similarity(sketch(it), sketch(it))) == (16, 1.0)


# --- near-duplicates --------------------------------------------------------------------------


def test_case_punctuation_and_system_prompts_make_no_difference() -> None:
    texts = long_texts(1)
    louder = [text.upper().replace(" ", ", ") + "!" for text in texts]
    assert clusters(talk("a", *texts, system="Be kind."), talk("b", *louder)) == [[0, 1]]


def test_one_rewritten_answer_of_ten_messages_is_a_near_duplicate() -> None:
    texts = long_texts(1, turns=10)
    rewritten = [*texts[:-1], long_texts(2, turns=1)[0]]
    assert clusters(talk("a", *texts), talk("b", *rewritten), talk("c", *long_texts(3))) == [[0, 1]]


def test_half_of_it_rewritten_is_no_near_duplicate() -> None:
    texts, others = long_texts(1), long_texts(2)
    assert clusters(talk("a", *texts), talk("b", *texts[:3], *others[3:])) == []


def test_equal_short_conversations_are_found_and_different_ones_are_not() -> None:
    """With three of four messages in common, which would be a lot of a long conversation."""
    short = ["Hi there", "Hello, how can I help?", "My card is lost", "Let us block it."]
    assert clusters(
        talk("a", *short),
        talk("b", *short[:3], "Call the bank."),
        talk("c", *short),
        talk("d", *short[::-1]),
        talk("e", "hi, there", *short[1:]),
    ) == [[0, 2, 4]]


def test_with_so_few_words_another_answer_makes_it_another_conversation() -> None:
    """Though nine tenths of the shingles are the question's."""
    question = long_texts(1, turns=1, words=20)[0]
    assert clusters(talk("a", question, "Yes, do it."), talk("b", question, "Better not.")) == []


def test_many_versions_of_one_conversation_are_one_cluster() -> None:
    """So many that an element of theirs is not compared each with each."""
    texts = long_texts(0, turns=10)
    versions = [talk(f"v{n}", *texts[:-1], *long_texts(n + 1, turns=1)) for n in range(30)]
    assert clusters(*versions) == [list(range(30))]


def test_a_chain_of_near_duplicates_is_one_cluster_whatever_the_order() -> None:
    texts = long_texts(1, turns=10)
    chain = []
    for version in range(6):
        chain.append(talk(f"v{version}", *texts))
        texts = [*texts]
        texts[version] = long_texts(100 + version, turns=1)[0]
    assert similarity(sketch(chain[0]), sketch(chain[-1])) < 0.5
    others = [talk(f"o{number}", *long_texts(200 + number)) for number in range(10)]
    mixed = Random(0).sample([*chain, *others], 16)
    expected = [index for index, item in enumerate(mixed) if item.conversation_id.startswith("v")]
    assert clusters(*mixed) == [expected]


def test_a_greeting_that_all_share_makes_no_near_duplicates_and_hides_none() -> None:
    greeting = long_texts(0, turns=2, words=60)
    talks = [talk(f"c{number}", *greeting, *long_texts(number + 1)) for number in range(60)]
    twin = talk("twin", *greeting, *long_texts(8)[:-1], "And now something else.")
    assert clusters(*talks, twin) == [[7, 60]]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_the_estimate_is_close_to_the_real_share(seed: int, changed: int) -> None:
    texts = long_texts(seed, turns=12)
    other = [*long_texts(seed + 1, turns=changed), *texts[changed:]]
    real = (12 - changed) / (12 + changed)  # All messages have equally many shingles.
    found = similarity(sketch(talk("a", *texts)), sketch(talk("b", *other)))
    # Four standard errors of 64 draws.
    assert abs(found - real) <= 4 * (real * (1 - real) / 64) ** 0.5 + 1e-9


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.floats(0, 0.3))
def test_no_pair_from_the_threshold_on_is_missed(seed: int, changed_share: float) -> None:
    """Against each with each."""
    random = Random(seed)
    bases = [random.sample(range(2**32), 64) for _ in range(4)]
    sketches = []
    for base in [*bases, *bases]:
        kept = [element for element in base if random.random() >= changed_share]
        new = random.sample(range(2**32), 64 - len(kept))
        sketches.append(struct.pack(">64I", *sorted([*kept, *new])))
    near = [
        [one, one + 4]
        for one in range(4)
        if similarity(sketches[one], sketches[one + 4]) >= NEAR_DUPLICATE_SIMILARITY
    ]
    assert near_duplicates(sketches) == near


def test_a_near_duplicate_may_lack_all_of_the_smallest_elements() -> None:
    """As many as can be: 45 of the 64 smallest are still common, which is the threshold."""
    common, smaller, larger = range(100, 145), range(19), range(200, 219)
    first, second = (struct.pack(">64I", *sorted([*common, *own])) for own in (smaller, larger))
    assert similarity(first, second) == 45 / 64
    assert near_duplicates([first, second]) == [[0, 1]]


def test_the_conversations_of_the_sample_are_all_different() -> None:
    sketches = [
        sketch(item) for item in read_dataset(SAMPLE / "brightrun-sample.json").conversations
    ]
    assert near_duplicates(sketches) == []
    assert (
        max(
            similarity(one, other)
            for place, one in enumerate(sketches)
            for other in sketches[place + 1 :]
        )
        < 0.1
    )


def test_those_of_a_real_file_are_all_different(real_file: Path) -> None:
    found = read_dataset(real_file).conversations
    assert clusters(*found) == []
