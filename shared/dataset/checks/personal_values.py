"""Finds values in a text that look like somebody's: cards, bank accounts, US SSN, e-mail addresses.

Numbers count when their check digits hold, so that a sum of money is none; made-up ones that
everybody knows (one digit repeated, `@example.com`) do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int, str]
"""Where a value begins and ends, and what it is."""

_LONG_NUMBER = re.compile(r"\d[\d -]{7,}\d")
"""Part of every number below; most texts have none."""

_CARD = re.compile(
    r"(?<![\w.,$€£-])"
    r"(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})"
    r"(?![\w-]|[.,]\d)"
)
_CARD_PREFIX = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})$"  # Visa
    r"|(?:5[1-5]|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)).*(?<=^.{16})$"  # Mastercard
    r"|3[47]\d{13}$|3(?:0[0-5]|[68]\d)\d{11}$"  # American Express, Diners Club
    r"|(?:6011|64[4-9]|65|35(?:2[89]|[3-8]\d)|62)\d{10,17}$"  # Discover, JCB, UnionPay
)
_SSN = re.compile(
    r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"  # areas that are given out
)
_KNOWN_SSN = frozenset({"078-05-1120", "219-09-9999", "123-45-6789"})
"""Printed in advertisements and examples, never anybody's again."""

_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])"
)
_EXAMPLE_DOMAIN = re.compile(r"(?:^|\.)(?:example\.[a-z.]+|example|test|invalid|localhost)$", re.I)
"""Domains that nobody has (RFC 2606, RFC 6761)."""

_DIFFERENT_DIGITS = 4
"""Cards in examples (4111 1111 ..., 4242 4242 ...) have fewer."""


def personal_values(text: str) -> list[Span]:
    """All of them, in order."""
    return sorted(_spans(text))


def masked(text: str) -> str:
    """The text with dots in the place of each value; every other character stays where it is."""
    for start, end, _ in personal_values(text):
        text = f"{text[:start]}{'•' * (end - start)}{text[end:]}"
    return text


def _spans(text: str) -> Iterator[Span]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _EXAMPLE_DOMAIN.search(match[1]):
                yield *match.span(), "e-mail address"
    if not _LONG_NUMBER.search(text):
        return
    for match in _CARD.finditer(text):
        if _is_card(re.sub(r"\D", "", match[0])):
            yield *match.span(), "card number"
    for match in _SSN.finditer(text):
        if match[0] not in _KNOWN_SSN:
            yield *match.span(), "social security number"
    for match in _IBAN.finditer(text):
        if _is_iban(match[0].replace(" ", "")):
            yield *match.span(), "bank account"


def _is_card(digits: str) -> bool:
    if not _CARD_PREFIX.match(digits) or len(set(digits)) < _DIFFERENT_DIGITS:
        return False
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(int(digit) for digit in digits[::-2])) % 10 == 0  # Luhn


def _is_iban(code: str) -> bool:
    if not 15 <= len(code) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in code[4:] + code[:4])) % 97 == 1  # ISO 13616
