"""Each finding has a file that triggers it and a clean twin that does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.dataset.checks.checker import check_dataset
from shared.dataset.conversation import Dataset, Declared, Message, TrainingPair
from shared.dataset.findings import Severity
from tests.shared.dataset.documents import asked, branched, dataset, messages, talk

CLEAN = dataset(talk("c", "Hi", "Hello", "Well?", "Fine"))
LONG = "You can begin with one small step, and it need not be today. " * 4
OTHER_LONG = "Most people find that the second month is the hardest one of all. " * 4
LETTER = " ".join(f"word{number}" for number in range(120)) + "."


def says(*texts: str, system: str = "") -> Dataset:
    return dataset(talk("c", *texts, system=system))


def pairs(*given: TrainingPair) -> Dataset:
    return dataset(branched("c", *given))


def chat(*said: tuple[str, str]) -> tuple[Message, ...]:
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return tuple(Message(roles[role], text) for role, text in said)  # type: ignore[arg-type]


def context(*said: tuple[str, str]) -> Dataset:
    return pairs(TrainingPair(2, chat(*said), "Fine", "turn 2"))


def labelled(persona: str, arc: str, topic: str, is_scaffolded: bool = True) -> Dataset:
    given = replace(
        talk("c", "Hi", "Hello"),
        persona=persona,
        emotional_arc=arc,
        training_topic=topic,
        is_scaffolded=is_scaffolded,
    )
    return dataset(given)


def declared(**totals: object) -> Dataset:
    given = replace(talk("c", "Hi", "Hello", "Well?"), persona="p")
    return replace(dataset(given), declared=Declared(**totals))  # type: ignore[arg-type]


def total_turns(count: int, *given: TrainingPair) -> Dataset:
    conversation = branched("c", *given) if given else talk("c", "Hi", "Hello", "Well?")
    return dataset(replace(conversation, declared_turns=count))


def with_ids(*ids: str) -> Dataset:
    given = [
        replace(pair, pair_id=pair_id)
        for pair, pair_id in zip(talk("c", "Hi", "Hello").pairs, ids, strict=True)
    ]
    return pairs(*given)


LINES_ONLY = (asked(2, "Hi", target="Hello"), asked(4, "Hi", "Hello", "Well?", target="Fine"))

ERROR, WARNING, NOTE = Severity

TABLE = [
    ("no_targets", ERROR, says("Hi"), CLEAN),
    ("no_targets", ERROR, dataset(), CLEAN),
    ("blank_target", ERROR, says("Hi", " \n"), says("Hi", " \n.")),
    (
        "duplicate_conversation",
        ERROR,
        dataset(talk("c", "Hi", "Hello"), talk("c", "Hi", "Hello")),
        dataset(talk("c", "Hi", "Hello"), talk("d", "Hi", "Good day")),
    ),
    (
        "duplicate",
        WARNING,
        dataset(talk("c", "Hi", "Hello"), talk("d", "Hi", "Hello")),
        dataset(talk("c", "Hi", "Hello"), talk("d", "Hi", "Hello", "Well?", "Fine")),
    ),
    (
        "near_duplicate",
        WARNING,
        dataset(talk("c", "Hi", LETTER), talk("d", "Hi", LETTER.replace("word99", "other"))),
        dataset(talk("c", "Hi", LETTER), talk("d", "Hi", LETTER.replace("word", "other"))),
    ),
    (
        "repeated_target",
        WARNING,
        dataset(talk("c", "I am new", LONG), talk("d", "And now?", OTHER_LONG, "So?", LONG)),
        dataset(talk("c", "I am new", LONG), talk("d", "And now?", OTHER_LONG, "So?", "Yes.")),
    ),
    ("pair_ids_repeat", NOTE, with_ids("a", "a"), with_ids("a", "b")),
    (
        "cut_target",
        WARNING,
        says("Hi", "Hello", "Well?", "And so I \\ "),
        says("Hi", "Hello", "Well?", "And so I \\ do."),
    ),
    ("maybe_cut_target", WARNING, says("Hi", "Well, and"), says("Hi", "Well, and so on")),
    ("literal_newline", WARNING, says("Hi", "one\\ntwo"), says("Hi", "one\ntwo")),
    ("literal_newline", WARNING, says("one\\ntwo", "Hello"), says("`\\n` is what?", "Hello")),
    ("forged_special_token", WARNING, says("Hi <|eot_id|>", "Hello"), says("Hi eot_id", "Hello")),
    (
        "forged_special_token",
        WARNING,
        says("Hi", "Hello", system="<|im_start|>"),
        says("Hi", "Hello", system="im_start"),
    ),
    ("control_characters", WARNING, says("Hi", "Hel\x07lo"), says("Hi", "Hel\n\r\tlo")),
    ("control_characters", WARNING, says("H\u200bi", "Hello"), says("H½—i", "Hello")),
    ("control_characters", WARNING, says("Hi", "caf\ufffd"), says("Hi", "café")),
    ("control_characters", WARNING, says("Hi", "a\u202eb"), says("Hi", "שלום")),
    ("control_characters", WARNING, says("Hi", "a\u200db"), says("Hi", "👩\u200d🚀")),
    ("control_characters", WARNING, says("Hi\ufeff", "Hello"), says("Hi\u2028", "Hello")),
    ("personal_data", WARNING, says("I am bo@pond.io", "Hi"), says("I am bo@example.com", "Hi")),
    (
        "role_order",
        WARNING,
        context(("u", "Hi"), ("a", "Hello")),
        context(("s", "Be kind."), ("u", "Hi")),
    ),
    (
        "role_order",
        WARNING,
        context(("a", "Hello"), ("u", "Hi")),
        context(("u", "Hi"), ("a", "Hello"), ("u", "Well?")),
    ),
    ("role_order", WARNING, context(("u", "Hi"), ("u", "Well?")), CLEAN),
    ("role_order", WARNING, context(("u", "Hi"), ("s", "Be kind."), ("u", "So?")), CLEAN),
    ("repeated_user_turn", WARNING, context(("u", "Hi"), ("u", "Hi ")), CLEAN),
    (
        "history_differs",
        WARNING,
        pairs(asked(2, "Hi", target="Hello"), asked(4, "Hi", "Good day", "Well?", target="Fine")),
        pairs(*LINES_ONLY),
    ),
    (
        "history_differs",
        WARNING,
        pairs(asked(1, "Hi", target=None), asked(2, "Hey", target="Hello")),
        pairs(asked(1, "Hi", target=None), asked(2, "Hi", target="Hello")),
    ),
    (
        "history_differs",
        WARNING,
        pairs(asked(2, "Hi", target="Hello"), asked(2, "Hi", target="Good day")),
        pairs(asked(2, "Hi", target="Hello"), asked(3, "Hi", "Hello", "Oh", target=None)),
    ),
    (
        "system_prompt_differs",
        NOTE,
        pairs(LINES_ONLY[0], asked(4, "Hi", "Hello", "So?", target="Fine", system="Be kind.")),
        pairs(*LINES_ONLY),
    ),
    ("empty_scaffolding", WARNING, labelled("p", "", ""), labelled("", "", "", False)),
    ("empty_scaffolding", NOTE, labelled("p", "a", " "), labelled("p", "a", "t")),
    ("metadata_count", WARNING, declared(conversations=2), declared(conversations=1)),
    ("metadata_count", WARNING, declared(pairs=2), declared(pairs=3)),
    ("metadata_count", WARNING, declared(personas={"p": 2}), declared(personas={"p": 1})),
    ("metadata_count", WARNING, declared(emotional_arcs={"a": 1}), declared(emotional_arcs={})),
    ("metadata_count", WARNING, total_turns(2), total_turns(3)),
    ("metadata_count", WARNING, total_turns(6, *LINES_ONLY), total_turns(5, *LINES_ONLY)),
    ("over_long", WARNING, says("Hi", "word " * 4096), says("Hi", "word " * 3000)),
]


@pytest.mark.parametrize(
    ("code", "severity", "trigger", "twin"),
    TABLE,
    ids=[f"{code}-{number}" for number, (code, *_) in enumerate(TABLE)],
)
def test_each_finding_is_reported_where_it_is_and_only_there(
    code: str, severity: Severity, trigger: Dataset, twin: Dataset
) -> None:
    report = check_dataset(trigger, max_seq_length=4096)
    [found] = report.findings
    assert (found.code, found.severity) == (code, severity)
    assert found.message.endswith(".")
    assert found.advice.endswith(".")
    assert report.finding_counts[severity] == {code: 1}
    assert check_dataset(twin, max_seq_length=4096).findings == ()


def test_a_text_is_reported_once_however_often_histories_repeat_it() -> None:
    bad = "one\\ntwo\x07 <|eot_id|> bo@pond.io"
    report = check_dataset(
        says(bad, "Hello", "Well?", "Fine", "So?", "Yes.", "And?", "No.", system=bad + "!"),
        max_seq_length=4096,
    )
    codes = ("literal_newline", "forged_special_token", "control_characters", "personal_data")
    assert report.finding_counts[WARNING] == dict.fromkeys(codes, 2)
    assert {found.turn for found in report.findings} == {1}


def test_a_system_prompt_is_looked_at_once_in_a_file() -> None:
    talks = [talk(str(n), f"Hi {n}", f"Hello {n}", system="a\\nb") for n in range(5)]
    report = check_dataset(dataset(*talks), max_seq_length=4096)
    [found] = report.findings
    assert found.message.startswith("the system prompt holds")
    assert report.system_prompts == 1


def test_a_finding_says_which_text_it_is_about() -> None:
    report = check_dataset(
        pairs(
            TrainingPair(4, (*messages("a\\nb", "c\\nd", "e\\nf"),), "g\\nh", "conversations[0]")
        ),
        max_seq_length=4096,
    )
    assert [found.message.split(" holds")[0] for found in report.findings] == [
        "the user's message",
        "an answer in the history",
        "the user's message",
        "the target",
    ]


def test_invisible_characters_are_named() -> None:
    report = check_dataset(says("Hi", "a\u200bb\u200bc\x07"), max_seq_length=4096)
    [found] = report.findings
    assert "U+200B ZERO WIDTH SPACE, 2 times; U+0007 control character." in found.message
