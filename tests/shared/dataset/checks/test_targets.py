"""Signs of a text that was cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.dataset.checks.targets import cut_sign
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON

LONG = "That is a lot to carry, and you carried it for years. " * 5


@pytest.mark.parametrize(
    ("target", "sign"),
    [
        ("First the rent, then the card,", "','"),
        ("Put it like this:", "':'"),
        ("There are two ways —", "'—'"),
        ("It is a long-", "'-'"),
        ("Three steps:\n- rent\n-", "'-'"),
        ("Call your bank (", "'('"),
        ("She said “", "'“'"),
        ('Ask for the "', "'\"'"),
        ("We could wait and", "'and'"),
        ("Look at your", "'your'"),
        ("Run this:\n```python\nprint(1)\n", "code block"),
        ("**Rent.** Then **the card", "bold"),
        (LONG + "And then you can go to the bank", "no full stop"),
        (LONG + "After that you have paid some 40", "no full stop"),
    ],
)
def test_a_text_that_stops_in_mid_sentence_is_seen(target: str, sign: str) -> None:
    assert sign in cut_sign(target)
    assert sign in cut_sign(target + " \n")


@pytest.mark.parametrize(
    "target",
    [
        "Sure, go ahead",
        "Really?",
        "Wait…",
        "Wait...",
        "It costs $40 (or less)",
        'Say "no"',
        "She said “no”",
        "«Nein»",
        "You did it 🎉",
        "I am so sorry :(",
        "Well done :tada:",
        "Take **one** step.",
        "*One step.*",
        "First\n\n---",
        "Run this:\n```python\nprint(1)\n```",
        LONG + "\n\n- the rent you owe for the last month",
        LONG + "\n2. the rent you owe for the last month",
        LONG + "\n## What you can do in the next month",
        LONG + "\n| a | b |",
        LONG + "\nRead all of it on this page: https://example.com/rent",
        LONG + "\nWrite to the clerk of the court at clerk@example.com",
        LONG + "\nYou pay each month as much as this: x = 12",
        LONG + "\n\nYours, as ever",
        LONG + "\n\nElena",
        LONG + "\n\nWarm regards,",
        "word " * 100,
        "文字" * 200,
        "",
    ],
)
def test_a_text_that_ends_is_left_alone(target: str) -> None:
    assert cut_sign(target) == ""


def test_no_target_of_the_sample_looks_cut() -> None:
    assert _signs(SAMPLE_JSON) == []


def test_no_target_of_the_real_file_looks_cut(real_file: Path) -> None:
    assert _signs(real_file) == []


def _signs(path: Path) -> list[str]:
    pairs = [pair for item in read_dataset(path).conversations for pair in item.targets]
    return [sign for pair in pairs if (sign := cut_sign(pair.target or ""))]
