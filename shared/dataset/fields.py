"""Single fields of JSON entries: what they must be, and what is said where they are not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from shared.dataset.findings import Finding, Severity

OnProblem = Callable[[Finding], None]
"""Takes what cannot be read; may raise, and reading goes on elsewhere if it does not."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def member(
    entry: dict[str, Any], name: str, kind: type, location: str, on_problem: OnProblem
) -> Any:
    """The value of a required field; None where it is missing or mistyped, which is told."""
    if name in entry:
        return checked(entry[name], kind, location, name, on_problem)
    on_problem(missing_field(name, location))
    return None


def checked(value: Any, kind: type, location: str, name: str, on_problem: OnProblem) -> Any:
    """The value if it is of this kind; else None, which is told."""
    problem = field_problem(value, kind, location, name)
    if problem is None:
        return value
    on_problem(problem)
    return None


def field_problem(value: Any, kind: type, location: str, name: str) -> Finding | None:
    """What is wrong with a field's value: another type, or text that no encoding can hold."""
    if not isinstance(value, kind):
        return wrong_type(name, kind, value, location)
    if isinstance(value, str) and (half := _LONE_SURROGATE.search(value)):
        return Finding(
            Severity.ERROR,
            "half_character",
            f'"{name}" holds half a character, {half[0]!r}.',
            "Write the whole character, or remove the half.",
            location=location,
        )
    return None


def missing_field(name: str, location: str) -> Finding:
    """A required field that is not there."""
    return Finding(
        Severity.ERROR,
        "missing_field",
        f'the field "{name}" is missing.',
        "Add it, or export the file again.",
        location=location,
    )


def wrong_type(name: str, kind: type, value: Any, location: str) -> Finding:
    """A field of another type than it must have; without a name, the entry itself."""
    wanted = {"list": "a list", "dict": "an object", "str": "text"}[kind.__name__]
    found = brief(value)
    message = (
        f'"{name}" must be {wanted}, not {found}.' if name else f"expected {wanted}, found {found}."
    )
    return Finding(
        Severity.ERROR,
        "wrong_type",
        message,
        "Mend it, or export the file again.",
        location=location,
    )


def brief(value: Any) -> str:
    """The beginning of a JSON value."""
    return json.dumps(value, ensure_ascii=False, default=repr)[:60]


def id_text(value: Any) -> str:
    """An id as text; numbers do occur."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()


def count_or_none(value: Any) -> int | None:
    """The value if it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
