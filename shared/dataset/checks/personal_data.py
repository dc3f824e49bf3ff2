"""Finds personal data that looks real: payment cards, bank accounts, US SSN, e-mail addresses.

A warning only. Numbers count when their check digits hold, so that a sum of money is none; made-up
ones that everybody knows (one digit repeated, `@example.com`) do not. The value itself is never
repeated in a finding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from shared.dataset.checks.walk import Text, around
from shared.dataset.findings import Finding, Severity

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


def personal_data_finding(text: Text) -> Finding | None:
    """One finding for all that this text holds, with the values masked."""
    spans = sorted(_spans(text.content))
    if not spans:
        return None
    counts = Counter(kind for _, _, kind in spans)
    listed = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items())
    masked, first = _masked(text.content, spans)
    return text.finding(
        Severity.WARNING,
        "personal_data",
        f"{text.name} holds what looks like personal data: {listed}.",
        "Put invented values there, such as name@example.com; a model can repeat what it learned.",
        around(masked, first, reach=35),
    )


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
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


def _masked(text: str, spans: list[tuple[int, int, str]]) -> tuple[str, int]:
    """The text with each value's kind in its place, and where the first one stands."""
    pieces, position = [], 0
    for start, end, kind in spans:
        if start >= position:
            pieces += [text[position:start], f"[{kind}]"]
        position = max(position, end)
    return "".join([*pieces, text[position:]]), spans[0][0]


def _is_card(digits: str) -> bool:
    if not _CARD_PREFIX.match(digits) or len(set(digits)) < _DIFFERENT_DIGITS:
        return False
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(int(digit) for digit in digits[::-2])) % 10 == 0  # Luhn


def _is_iban(code: str) -> bool:
    if not 15 <= len(code) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in code[4:] + code[:4])) % 97 == 1  # ISO 13616
