from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import ceil, floor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset.conversation import Conversation
from shared.dataset.split import (
    Member,
    Stratum,
    choose_held_out,
    member_of,
    share_of,
    split,
    units_of,
)
from tests.shared.dataset.documents import talk
from tests.shared.dataset.test_similarity import long_texts

FRACTIONS = st.floats(0, 0.5)
SEEDS = st.integers(0, 2**32 - 1)
STRATA = st.lists(st.sampled_from("abcdef"), max_size=120)
"""The persona of each conversation."""


def talks(count: int, personas: Sequence[str] = ("",)) -> list[Conversation]:
    """Conversations that are all different; each has the number of its text as id."""
    return [
        replace(
            talk(f"c{number}", f"Question {number}", f"Answer {number}"),
            persona=personas[number % len(personas)],
        )
        for number in range(count)
    ]


def ids(conversations: Sequence[Conversation]) -> set[str]:
    return {item.conversation_id for item in conversations}


def held_out_ids(conversations: Sequence[Conversation], fraction: float, seed: int) -> set[str]:
    train, held_out = split(conversations, fraction, seed)
    assert not ids(train) & ids(held_out)
    return ids(held_out)


# --- how many ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 0), (1, 0), (2, 1), (4, 1), (12, 4), (25, 8), (34, 10), (82, 10), (104, 10), (242, 24)],
)
def test_a_tenth_is_held_out_and_of_a_small_file_up_to_three_tenths_to_come_to_ten(
    count: int, expected: int
) -> None:
    train, held_out = split(talks(count), 0.1, seed=42)
    assert (len(train), len(held_out)) == (count - expected, expected)


def test_a_fraction_of_nothing_holds_out_nothing() -> None:
    assert held_out_ids(talks(100), 0, seed=42) == set()


def test_something_is_trained_though_everything_should_be_held_out() -> None:
    train, held_out = split(talks(3), 1.0, seed=42)
    assert (len(train), len(held_out)) == (1, 2)


def test_the_fraction_means_what_is_written() -> None:
    """29 hundredths of 100 are 29, though the double next to 0.29 is a little less."""
    assert share_of(100, 0.29) == Fraction(29, 100)
    assert len(held_out_ids(talks(100), 0.29, seed=42)) == 29


# --- which ones -------------------------------------------------------------------------------


def test_another_seed_holds_out_others() -> None:
    assert held_out_ids(talks(100), 0.1, seed=1) != held_out_ids(talks(100), 0.1, seed=2)


def test_new_ids_and_places_change_nothing() -> None:
    before = talks(100)
    after = [replace(item, conversation_id=f"new-{item.conversation_id}") for item in before]
    assert held_out_ids(after, 0.1, seed=42) == {f"new-{i}" for i in held_out_ids(before, 0.1, 42)}


@settings(deadline=None, max_examples=50)
@given(STRATA, FRACTIONS, SEEDS)
def test_every_conversation_is_on_one_side_in_file_order(
    personas: list[str], fraction: float, seed: int
) -> None:
    conversations = talks(len(personas), personas)
    train, held_out = split(conversations, fraction, seed)
    assert train == [item for item in conversations if item not in held_out]
    assert held_out == [item for item in conversations if item not in train]
    assert bool(train) == bool(conversations)
    assert bool(held_out) == (len(conversations) > 1 and fraction > 0)


@settings(deadline=None, max_examples=50)
@given(STRATA, FRACTIONS, SEEDS)
def test_each_stratum_gives_its_exact_share_rounded_up_or_down(
    personas: list[str], fraction: float, seed: int
) -> None:
    conversations = talks(len(personas), personas)
    _, held_out = split(conversations, fraction, seed)
    share = share_of(len(conversations), fraction)
    counts = Counter(item.persona for item in held_out)
    for persona, size in Counter(personas).items():
        assert floor(size * share) <= counts[persona] <= ceil(size * share)
    assert abs(len(held_out) - len(conversations) * share) <= Fraction(1, 2)


def test_strata_that_are_too_small_for_one_each_give_some_in_turns() -> None:
    """30 strata of three: a tenth of each is no conversation, of all nine and lifted to ten."""
    conversations = talks(90, [f"p{number}" for number in range(30)])
    _, held_out = split(conversations, 0.1, seed=42)
    assert len(held_out) == len({item.persona for item in held_out}) == 10


def test_persona_and_arc_make_the_stratum_together() -> None:
    conversations = [
        replace(item, persona=f"p{number % 2}", emotional_arc=f"a{number // 2 % 2}")
        for number, item in enumerate(talks(200))
    ]
    _, held_out = split(conversations, 0.1, seed=42)
    counts = Counter((item.persona, item.emotional_arc) for item in held_out)
    assert set(counts.values()) == {5} and len(counts) == 4


@settings(deadline=None, max_examples=50)
@given(STRATA, FRACTIONS, SEEDS, st.integers(0, 2**32))
def test_the_order_in_the_file_does_not_matter(
    personas: list[str], fraction: float, seed: int, order: int
) -> None:
    conversations = talks(len(personas), personas)
    shuffled = Random(order).sample(conversations, len(conversations))
    assert held_out_ids(shuffled, fraction, seed) == held_out_ids(conversations, fraction, seed)


# --- when conversations are added ---------------------------------------------------------------


@cache
def different_members() -> list[Member]:
    return [member_of(item) for item in talks(160)]


def members_of(personas: Sequence[str]) -> list[Member]:
    return [
        replace(member, stratum=Stratum(persona, ""))
        for member, persona in zip(different_members(), personas, strict=False)
    ]


def moves(before: Sequence[Member], after: Sequence[Member], fraction: float, seed: int) -> int:
    """How many of the conversations of `before` are on another side in `after`, which has more."""
    one, other = (
        choose_held_out(members, units_of(members), fraction, seed) for members in (before, after)
    )
    return len((one ^ other) & set(range(len(before))))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=101, max_size=160),
    st.sampled_from([0.1, 0.125, 0.2, 0.3, 0.5]),
    SEEDS,
)
def test_one_more_conversation_moves_at_most_two_others(
    personas: list[str], fraction: float, seed: int
) -> None:
    """One that makes room for it in its stratum, and one for the rounding."""
    members = members_of(personas)
    assert moves(members[:-1], members, fraction, seed) <= 2


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=5, max_size=33), SEEDS)
def test_nor_does_it_move_more_in_a_small_file(personas: list[str], seed: int) -> None:
    members = members_of(personas)
    assert moves(members[:-1], members, 0.1, seed) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_file_that_grows_from_34_to_100_moves_less_than_one_for_each_that_is_added(
    seed: int,
) -> None:
    """There the share falls from three tenths to one, so all strata's shares change each time."""
    random = Random(seed)
    members = members_of([random.choice("abcdefghijkl") for _ in range(100)])
    each = [moves(members[:n], members[: n + 1], 0.1, seed) for n in range(34, 100)]
    assert sum(each) < 66
    assert max(each) <= 4


# --- what must not be parted ------------------------------------------------------------------


def test_conversations_that_share_an_id_stay_together_and_something_is_trained() -> None:
    one, other = talks(2)
    train, held_out = split([one, replace(other, conversation_id="c0")], 0.5, seed=42)
    assert (len(train), len(held_out)) == (2, 0)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 5), st.sampled_from([0.1, 0.3, 0.5]), SEEDS)
def test_near_duplicates_and_same_ids_are_on_one_side(
    copies: int, fraction: float, seed: int
) -> None:
    """Every conversation has copies: some equal, some with an answer more, some with its id."""
    conversations = []
    for number in range(8):
        texts = long_texts(number, turns=4, words=20)
        family = [talk(f"{number}-{copy}", *texts) for copy in range(copies)]
        family[1] = talk(f"{number}-1", *texts, "Thank you", "You are welcome.")
        family.append(talk(f"{number}-0", "Something else", f"Quite short: {number}"))
        conversations += [replace(item, persona=f"p{i}") for i, item in enumerate(family)]
    train, held_out = split(conversations, fraction, seed)
    sides = [{item.conversation_id.split("-")[0] for item in side} for side in (train, held_out)]
    assert sides[0].isdisjoint(sides[1])
    assert len(sides[0]) + len(sides[1]) == 8
    assert len(sides[1]) == {0.1: 2, 0.3: 2, 0.5: 4}[fraction]


def test_what_is_repeated_is_trained_where_there_is_enough_else() -> None:
    repeated = [replace(talks(1)[0], conversation_id=f"r{number}") for number in range(50)]
    for seed in range(10):
        held_out = held_out_ids([*repeated, *talks(41)[1:]], 0.1, seed)
        # 41 units, the repeated one among them.
        assert len(held_out) == 10
        assert not any(name.startswith("r") for name in held_out)


def test_where_all_are_near_duplicates_nothing_can_be_held_out() -> None:
    same = [replace(talks(1)[0], conversation_id=f"r{number}") for number in range(20)]
    assert held_out_ids(same, 0.5, seed=42) == set()
