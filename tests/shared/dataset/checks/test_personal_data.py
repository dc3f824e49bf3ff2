"""Data that looks real is found and never repeated; what everybody knows is not."""

from __future__ import annotations

import pytest

from shared.dataset.checks.checker import check_dataset
from shared.dataset.checks.personal_data import personal_data_finding
from shared.dataset.checks.walk import Text
from shared.dataset.findings import Finding
from tests.shared.dataset.documents import asked, branched, dataset, talk

CARD = "4539 1488 0343 6467"
IBAN = "NL91 ABNA 0417 1643 00"


def look(content: str) -> Finding | None:
    return personal_data_finding(Text("c", asked(1, content, target=None), "user", content))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (CARD, "card number"),
        (CARD.replace(" ", ""), "card number"),
        (CARD.replace(" ", "-"), "card number"),
        ("5425 2334 3010 9903", "card number"),
        ("3714 496353 98431", "card number"),
        ("6011 0009 9013 9424", "card number"),
        ("536-22-8726", "social security number"),
        ("bo.lind+x@mail.pond.io", "e-mail address"),
        (IBAN, "bank account"),
        (IBAN.replace(" ", ""), "bank account"),
        ("MT84 MALT 0110 0001 2345 MTLC AST0 01S", "bank account"),
    ],
)
def test_a_value_that_looks_real_is_found_and_masked(value: str, kind: str) -> None:
    found = look(f"Well, mine is {value}. What now?")
    assert found is not None
    assert found.message.endswith(f"1 {kind}.")
    assert found.snippet == f"Well, mine is [{kind}]. What now?"


@pytest.mark.parametrize(
    "text",
    [
        "4539 1488 0343 6468",  # its check digit is wrong
        "1234 5678 9012 3452",  # nobody gives out such a card
        "4111 1111 1111 1111 or 4242424242424242",  # known from examples
        f"order 9{CARD.replace(' ', '')}",
        "$4,539,148,803.43, 4539148803436467.25",
        "from 2019 2020 2021 2022",
        "000-22-8726 666-22-8726 936-22-8726 536-00-8726 536-22-0000",
        "123-45-6789",
        "call 536-228-7260 or 536-22-87261",
        "bo@example.com, bo@mail.example.org, bo@pond.test, bo@localhost, bo@pond.invalid",
        "@handle, a@b, 2@4.5",
        "NL92 ABNA 0417 1643 00",
        "It is 12:45 on 2026-11-02.",
    ],
)
def test_what_cannot_be_anybodys_is_left_alone(text: str) -> None:
    assert look(text) is None


def test_all_values_of_a_text_are_counted_in_one_finding_and_none_is_shown() -> None:
    found = look(f"{CARD} or {CARD}, mail bo@pond.io, account {IBAN}.")
    assert found is not None
    assert "2 card numbers, 1 e-mail address, 1 bank account." in found.message
    for value in ("4539", "6467", "pond", "ABNA"):
        assert value not in f"{found.message}{found.snippet}"


def test_a_value_inside_another_one_is_masked_with_it() -> None:
    account = "DE24 4539 1488 0343 6467 00"  # holds CARD
    found = look(f"From {account}, please.")
    assert found is not None
    assert found.message.endswith("1 bank account, 1 card number.")
    assert found.snippet == "From [bank account], please."


def test_a_long_text_without_end_is_looked_at_in_no_time() -> None:
    assert look("a" * 200_000 + "@") is None
    assert look("4 " * 100_000) is None
    assert look("a." * 100_000 + "@" + "a." * 100_000) is None
    assert look("AB12 " + "ABCD " * 50_000) is None


def test_no_finding_repeats_what_was_masked() -> None:
    mail = "bo.lind@mail.pond.io"
    answer = f"{'Thank you. ' * 30}\\n Write to {mail} or {CARD} <|eot_id|> and \\"
    other = asked(4, "Hi", f"{CARD} {mail}", "Well?", target=f"{mail} {CARD} said the,")
    found = check_dataset(
        dataset(
            branched("a", asked(2, "Hi", target=answer), other),
            branched("b", asked(2, f"{CARD}\\n{mail}", f"{CARD}\\n{mail}", target=answer)),
            branched(
                "d",
                asked(2, f"It is {CARD}", target="Yes."),
                asked(4, f"It is {CARD}!", "Yes.", "No?", target="No."),
            ),
            talk("c", f"{mail}‮", f"{mail} {CARD}"),
        ),
        max_seq_length=4096,
    )
    codes = {finding.code for finding in found.findings}
    assert {"personal_data", "history_differs", "literal_newline", "cut_target"} <= codes
    assert {"maybe_cut_target", "repeated_target", "control_characters", "role_order"} <= codes
    shown = str(found.to_dict())
    assert "pond" not in shown
    assert "lind" not in shown
    assert "0343" not in shown
    assert "•" in shown
