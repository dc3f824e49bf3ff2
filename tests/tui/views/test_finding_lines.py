"""How findings are told in lines."""

from __future__ import annotations

from dataclasses import replace

from shared.dataset.findings import Finding, Severity
from tests.tui.hostile import HOSTILE
from tests.tui.views.reports import finding, report
from tui.views.finding_lines import (
    checks_in_words,
    finding_groups,
    finding_line,
    finding_lines,
    finding_place,
)


def lines(*findings: Finding, most: int | None = None) -> list[str]:
    its = report(*findings)
    return [line.plain for line in finding_lines(its.findings, its.finding_counts, most)]


def test_what_findings_of_a_code_share_is_said_once() -> None:
    cut = [finding(conversation_id="c1", turn=turn, snippet="so\\") for turn in (2, 4)]

    assert lines(*cut) == [
        "warning  cut_target (2 times)  the answer ends in mid-sentence.",
        "         → Mend it.",
        "         c1 · turn 2  «so\\»",
        "         c1 · turn 4  «so\\»",
    ]


def test_what_differs_is_said_of_each() -> None:
    long = [
        finding(
            Severity.ERROR, "over_long", message=f"{n} tokens.", advice="", location=f"line {n}"
        )
        for n in (7, 8)
    ]

    assert lines(*long) == [
        "error    over_long (2 times)",
        "         line 7  7 tokens.",
        "         line 8  8 tokens.",
    ]


def test_errors_come_first() -> None:
    found = lines(finding(), finding(Severity.NOTE, "n"), finding(Severity.ERROR, "e"))

    heads = [line.split()[0] for line in found if not line.startswith(" ")]
    assert heads == ["error", "warning", "note"]


def test_no_more_of_a_code_than_asked_for_and_the_rest_is_counted() -> None:
    many = [finding(turn=turn) for turn in range(300)]

    few = lines(*many, most=2)

    assert few[0].startswith("warning  cut_target (300 times)")
    assert (len(few), few[-1]) == (5, "         … and 298 more")
    # 200 are kept; the others are known by their number only.
    assert lines(*many)[-1] == "         … and 100 more"


def test_a_finding_without_a_place_is_its_head_alone() -> None:
    assert lines(finding(Severity.NOTE, "pair_ids", message="they repeat.", advice="")) == [
        "note     pair_ids  they repeat."
    ]


def test_checks_in_words_count_those_that_were_not_kept() -> None:
    assert checks_in_words(report(*[finding() for _ in range(300)])) == "300 warnings"
    assert checks_in_words(report(finding(Severity.ERROR), finding())) == "1 error, 1 warning"
    assert checks_in_words(report()) == "no findings"


def test_foreign_text_is_cleaned_and_shortened_in_all_of_them() -> None:
    evil = HOSTILE + "x" * 10_000
    bad = finding(message=evil, advice=evil, conversation_id=evil, location=evil, snippet=evil)

    for text in (*lines(bad), *lines(bad, finding()), finding_line(bad).plain):
        assert not set(text) & {"\x1b", "\x07", "\u202e", "\n"}
        assert len(text) < 2_500


def test_groups_keep_the_count_of_all() -> None:
    its = report(*[finding(turn=turn) for turn in range(300)])

    (group,) = finding_groups(its.findings, its.finding_counts)

    assert (group.count, len(group.findings)) == (300, 200)


def test_a_finding_says_where_it_is_in_cleaned_words() -> None:
    here = finding(conversation_id="c1", turn=2, location="line 3")

    assert finding_place(here) == "c1 · turn 2 · line 3"
    assert finding_place(replace(here, conversation_id="\x1b]52;c;aGk=\x07\u202ee")).startswith(
        "e ·"
    )
    assert len(finding_place(replace(here, conversation_id="x" * 10_000))) < 500
