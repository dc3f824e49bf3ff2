"""Findings about personal data that looks real: warnings only, which never repeat a value."""

from __future__ import annotations

from collections import Counter

from shared.dataset.checks.personal_values import Span, personal_values
from shared.dataset.checks.walk import Text, around
from shared.dataset.findings import Finding, Severity


def personal_data_finding(text: Text) -> Finding | None:
    """One finding for all that this text holds, with the values masked."""
    spans = personal_values(text.content)
    if not spans:
        return None
    counts = Counter(kind for _, _, kind in spans)
    listed = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items())
    masked, first = _named(text.content, spans)
    return text.finding(
        Severity.WARNING,
        "personal_data",
        f"{text.name} holds what looks like personal data: {listed}.",
        "Put invented values there, such as name@example.com; a model can repeat what it learned.",
        around(masked, first, reach=35),
    )


def _named(text: str, spans: list[Span]) -> tuple[str, int]:
    """The text with each value's kind in its place, and where the first one stands."""
    pieces, position = [], 0
    for start, end, kind in spans:
        if start >= position:
            pieces += [text[position:start], f"[{kind}]"]
        position = max(position, end)
    return "".join([*pieces, text[position:]]), spans[0][0]
