from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shared.dataset.conversation import Conversation
from shared.dataset.split import split
from tests.shared.dataset.documents import talk

NAMES = st.lists(st.text(), unique=True, max_size=40)
FRACTIONS = st.floats(0, 0.5)
SEEDS = st.integers(0, 2**32 - 1)


def talks(names: list[str]) -> list[Conversation]:
    return [talk(name, "Hi", "Hello") for name in names]


def held_out_ids(names: list[str], fraction: float, seed: int) -> set[str]:
    return {item.conversation_id for item in split(talks(names), fraction, seed)[1]}


def test_twelve_conversations_hold_out_one() -> None:
    train, held_out = split(talks([f"c{n}" for n in range(12)]), 0.1, seed=42)
    assert (len(train), len(held_out)) == (11, 1)


def test_a_fraction_of_nothing_holds_out_nothing() -> None:
    assert held_out_ids(["a", "b", "c"], 0, seed=42) == set()


def test_a_single_conversation_is_trained() -> None:
    assert held_out_ids(["a"], 0.5, seed=42) == set()


def test_something_is_trained_though_everything_should_be_held_out() -> None:
    train, held_out = split(talks(["a", "b", "c"]), 1.0, seed=42)
    assert (len(train), len(held_out)) == (1, 2)


def test_another_seed_holds_out_others() -> None:
    names = [f"c{n}" for n in range(100)]
    assert held_out_ids(names, 0.1, seed=1) != held_out_ids(names, 0.1, seed=2)


def test_conversations_that_share_an_id_stay_together_and_something_is_trained() -> None:
    train, held_out = split(talks(["a", "a"]), 0.5, seed=42)
    assert (len(train), len(held_out)) == (2, 0)


@given(NAMES, FRACTIONS, SEEDS)
def test_every_conversation_is_on_one_side_in_file_order(
    names: list[str], fraction: float, seed: int
) -> None:
    conversations = talks(names)
    train, held_out = split(conversations, fraction, seed)
    assert train == [item for item in conversations if item not in held_out]
    assert held_out == [item for item in conversations if item not in train]
    assert bool(train) == bool(conversations)
    assert bool(held_out) == (len(names) > 1 and fraction > 0)
    assert abs(len(held_out) - len(names) * fraction) <= 1


@given(NAMES, FRACTIONS, SEEDS, st.randoms())
def test_the_order_in_the_file_does_not_matter(
    names: list[str], fraction: float, seed: int, random: Random
) -> None:
    shuffled = random.sample(names, len(names))
    assert held_out_ids(shuffled, fraction, seed) == held_out_ids(names, fraction, seed)


@given(NAMES.filter(lambda names: len(names) > 1), FRACTIONS, SEEDS)
def test_one_more_conversation_moves_at_most_one_other(
    names: list[str], fraction: float, seed: int
) -> None:
    before = held_out_ids(names[1:], fraction, seed)
    after = held_out_ids(names, fraction, seed)
    assert len((before ^ after) - {names[0]}) <= 1
