"""A window onto an attempt's `trainer.log`, in bytes, however long the log has grown. Blocks."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from agent.log_limit import skip_dropped
from agent.run_directory import JobDirectory
from shared.agent_protocol import LogSlice
from shared.errors import InvalidInput

DEFAULT_LIMIT_BYTES = 64 * 1024
MAX_LIMIT_BYTES = 1 << 20

_LONGEST_CHARACTER_BYTES = 4


def read_log_window(job: JobDirectory, attempt: int | None, offset: int, limit: int) -> LogSlice:
    """At most `limit` bytes of the log from `offset`, which counts from the end if negative.

    `attempt` None is the latest. A character that the window's end cuts is left to the next window;
    bytes that are no text are replaced. Where the log's beginning was dropped the window begins
    behind that, with a line that says so.

    Raises:
        InvalidInput: the job has no such attempt.
    """
    numbers = [directory.number for directory in job.attempts()]
    number = attempt if attempt is not None else max(numbers, default=1)
    if attempt is not None and attempt not in numbers:
        raise InvalidInput(f"Job {job.job_id} has no attempt {attempt}.")
    try:
        with job.attempt(number).log_path.open("rb", buffering=0) as log:
            size = os.fstat(log.fileno()).st_size
            start = min(offset, size) if offset >= 0 else max(0, size + offset)
            start = skip_dropped(log.fileno(), start, size)
            content = os.pread(log.fileno(), limit, start)
    except FileNotFoundError:
        return LogSlice(attempt=number, offset=0, next_offset=0, size=0, text="")
    text, length = _decode(content)
    return LogSlice(attempt=number, offset=start, next_offset=start + length, size=size, text=text)


def read_end(path: Path, size_bytes: int) -> str:
    """The last bytes of a log as text; "" where there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - size_bytes))
            return log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _decode(content: bytes) -> tuple[str, int]:
    """The text, and the bytes it stands for."""
    # Where a cut character is all there is, waiting for its rest would be waiting for ever.
    is_final = len(content) < _LONGEST_CHARACTER_BYTES
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(content, is_final)
    return text, len(content) - len(decoder.getstate()[0])
