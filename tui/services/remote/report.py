"""Reads what the installation on the other machine says; apart from any I/O.

Its lines stand among whatever the machine's shells print; see `agent.installation.report`.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

from shared import errors
from shared.clean_text import clean, clean_line
from shared.errors import BrightRunError, InstallationFailed, InvalidInput, ProtocolError

_MARK = "brightrun"
_KINDS: dict[str, type[InvalidInput] | type[InstallationFailed]] = {
    kind.__name__: kind for kind in (errors.InvalidInput, errors.InstallationFailed)
}
_LAST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done now."""

    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended well."""

    busy: tuple[str, ...] = ()
    """Jobs of an agent that was therefore left as it is."""


class Report:
    """Takes the lines of one installation, in order."""

    def __init__(self) -> None:
        self._noise: deque[str] = deque(maxlen=_LAST_WORDS)
        self._result: Result | None = None
        self._error: BrightRunError | None = None

    def read(self, line: str) -> Step | None:
        """The step that this line tells of; None if it tells of something else."""
        record = _record(line)
        match record.get(_MARK):
            case "step":
                return Step(clean_line(str(record.get("text", ""))))
            case "result":
                self._result = Result(_texts(record.get("busy")))
            case "failed":
                kind = _KINDS.get(str(record.get("kind")), InstallationFailed)
                self._error = kind(clean(str(record.get("message", ""))))
            case _:
                self._noise.append(clean_line(line))
        return None

    def close(self) -> Result:
        """How it ended.

        Raises:
            InvalidInput: the user can mend it; the message says how.
            InstallationFailed: it failed, or was killed.
            ProtocolError: it ended without a word.
        """
        if self._error is not None:
            raise self._error
        if self._result is not None:
            return self._result
        last = " ".join(filter(None, self._noise))
        if not last:
            raise ProtocolError(
                "the installation there ended without a word; it may have been killed. Try again."
            )
        raise InstallationFailed(
            f"the installation there broke off; try again. It said last: {last[-400:]}"
        )


def _record(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(clean_line(str(item)) for item in value) if isinstance(value, list) else ()
