"""What is kept of a crash: one text file, without local variables and without secrets.

Knows nothing of Textual, and never raises: it runs when something else already went wrong.
"""

from __future__ import annotations

import os
import platform
import shutil
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from shared.clean_text import clean, clean_line
from shared.redaction import redact

MAX_REPORT_BYTES = 200_000
KEPT_REPORTS = 20
_MAX_LINE_LENGTH = 300
# Bounds the time that redaction takes; far more than is kept.
_MAX_RAW_LENGTH = 2_000_000
_CUT = "\n… left out …\n"


def headline(error: BaseException) -> str:
    """What happened, on one line: the error's type and message, cleaned and redacted."""
    # The traceback module survives an error whose `__str__` raises.
    message = str(traceback.TracebackException(type(error), error, None, compact=True))
    name = type(error).__name__
    return _safe_line(f"{name}: {message}" if message.strip() else name)


def crash_lines(error: BaseException, report: Path | None, directory: Path) -> str:
    """The three lines that a person sees; `report` is None where it could not be written."""
    if report is None:
        where = f"No report could be written to {clean_line(str(directory))}"
    else:
        where = f"The report is in {clean_line(str(report))}"
    return (
        f"brightrun stopped: {headline(error)}\n"
        f"{where}\n"
        "Your jobs go on; `brightrun` shows them again.\n"
    )


def write_crash_report(
    error: BaseException, directory: Path, *, facts: Mapping[str, str]
) -> Path | None:
    """Write the report and return its path; None where that was not possible."""
    try:
        report = _report(error, facts)
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.mkdir(exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        path = _write(directory, report)
        _forget_oldest(directory, path)
    except Exception:
        # Whatever it is, the first error is the one that has to be told.
        return None
    return path


def _report(error: BaseException, facts: Mapping[str, str]) -> bytes:
    named = [f"{name}: {value}" for name, value in (_process_facts() | dict(facts)).items()]
    head = "\n".join([headline(error), "", *map(_safe_line, named)])
    # `capture_locals` stays off: a local may hold a key, a dataset or a whole response.
    story = "".join(traceback.TracebackException.from_exception(error).format())
    # Cleaned first: a control sequence within a key would hide it from redaction.
    text = f"{head}\n\n{redact(clean(_without_middle(story)))}".encode("utf-8", "replace")
    if len(text) <= MAX_REPORT_BYTES:
        return text
    half = (MAX_REPORT_BYTES - len(_CUT.encode())) // 2
    kept = (text[:half].decode("utf-8", "ignore"), text[-half:].decode("utf-8", "ignore"))
    return _CUT.join(kept).encode()


def _process_facts() -> dict[str, str]:
    size = shutil.get_terminal_size()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "brightrun": _version("brightrun"),
        "textual": _version("textual"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "terminal": f"{os.environ.get('TERM') or 'TERM is unset'}, {size.columns}x{size.lines}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _safe_line(text: str) -> str:
    line = redact(clean_line(_without_middle(text)))
    return line if len(line) <= _MAX_LINE_LENGTH else f"{line[:_MAX_LINE_LENGTH]}…"


def _without_middle(text: str) -> str:
    """`text`, if it is not huge. No word is cut in two: half a key would pass redaction."""
    if len(text) <= _MAX_RAW_LENGTH:
        return text
    head, tail = text[: _MAX_RAW_LENGTH // 2], text[-_MAX_RAW_LENGTH // 2 :]
    head = head[: max(head.rfind(" "), head.rfind("\n")) + 1]
    return head + _CUT + "".join(tail.split(maxsplit=1)[1:])


def _write(directory: Path, report: bytes) -> Path:
    name = f"crash-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    path = directory / f"{name}.txt"
    for number in range(2, 10):
        if not path.exists():
            break
        path = directory / f"{name}-{number}.txt"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(report)
    return path


def _forget_oldest(directory: Path, newest: Path) -> None:
    others = sorted(path for path in directory.glob("crash-*.txt") if path != newest)
    for path in others[: -(KEPT_REPORTS - 1)]:
        with suppress(OSError):
            path.unlink()
