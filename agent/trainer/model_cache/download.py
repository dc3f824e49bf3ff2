"""One file from the hub, safe to break off at any moment: the next call goes on where it ended.

The hub's client downloads; since version 2 it removes what it did not finish, so the unfinished
file is ours. A stalled or refused download is tried again with growing pauses, as long as bytes
come from time to time. The hash of a large file is checked against the hub's.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

from agent.trainer.failures import is_disk_full
from agent.trainer.model_cache.sources import SourceFile, first_line, require_allowed
from shared.errors import DownloadFailed
from shared.manifest import file_sha256

INCOMPLETE_SUFFIX = ".incomplete"

Told = Callable[[int], None]
"""Is told how many bytes have come, below zero where bytes count no more."""


class Stopped(Exception):
    """Nobody wants the file any more; what has come is kept."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a download is tried again."""

    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    limit_s: float = 900.0
    """So long without one new byte, and it has failed. The client itself breaks a connection off
    after 10 s of silence (`HF_HUB_DOWNLOAD_TIMEOUT`)."""


def unfinished(target: Path) -> Path:
    """Where the file grows before it has its name."""
    return target.with_name(target.name + INCOMPLETE_SUFFIX)


def download(
    base_model: str,
    commit: str,
    file: SourceFile,
    target: Path,
    told: Told,
    stopped: threading.Event,
    patience: Patience | None = None,
) -> None:
    """Fetch `file` to `target`; what is there already counts as told by the caller.

    May be told to stop from another thread, and then raises Stopped.

    Raises:
        InvalidBaseModel: the hub refuses the file for good.
        DownloadFailed: no byte came for too long.
        OSError: the disk is full.
    """
    patience = patience or Patience()
    pause_s, silent_since = patience.first_pause_s, time.monotonic()
    while True:
        before = _size(unfinished(target))
        trouble, wait_s = _try_once(base_model, commit, file, target, told, stopped)
        if not trouble:
            return
        if _size(unfinished(target)) > before:
            pause_s, silent_since = patience.first_pause_s, time.monotonic()
        elif time.monotonic() - silent_since > patience.limit_s:
            raise DownloadFailed(
                f"{base_model}: {file.name} stands at {_size(unfinished(target)):,} of "
                f"{file.size_bytes:,} bytes and no more came for {patience.limit_s:,.0f} s "
                f"({trouble}). What has come is kept; try again later."
            )
        if stopped.wait(max(pause_s, wait_s)):
            raise Stopped
        pause_s = min(2 * pause_s, patience.longest_pause_s)


def _try_once(
    base_model: str,
    commit: str,
    file: SourceFile,
    target: Path,
    told: Told,
    stopped: threading.Event,
) -> tuple[str, float]:
    """What went wrong, and how long the hub asks to wait; nothing once the file is there."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        url, headers = _location(base_model, commit, file.name)
    except OfflineModeIsEnabled as error:
        raise DownloadFailed(f"{base_model}: HF_HUB_OFFLINE forbids to download it.") from error
    except (HfHubHTTPError, HTTPError) as error:
        require_allowed(error, base_model, commit)
        return first_line(error), _asked_pause_s(error)
    try:
        _get(url, headers, file, unfinished(target), _unless(stopped, told))
    except (HfHubHTTPError, HTTPError) as error:
        # Also a 403: the address that the hub gave may have expired on the way.
        return first_line(error), _asked_pause_s(error)
    except OSError as error:
        if is_disk_full(error):
            raise
        return first_line(error), 0.0
    if file.sha256 is not None and file_sha256(unfinished(target)) != file.sha256:
        told(-_size(unfinished(target)))
        unfinished(target).unlink()
        return "its content does not match the hub's sha256", 0.0
    os.replace(unfinished(target), target)
    return "", 0.0


def _location(base_model: str, commit: str, name: str) -> tuple[str, dict[str, str]]:
    """Where the bytes lie, and what to send along: the token goes to the hub alone."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(base_model, name, revision=commit)
    location = get_hf_file_metadata(url).location
    headers = dict(build_hf_headers())
    if urlparse(location).netloc != urlparse(url).netloc:
        headers.pop("authorization", None)
    return location, headers


def _unless(stopped: threading.Event, told: Told) -> Told:
    def tell(size_bytes: int) -> None:
        told(size_bytes)
        if stopped.is_set():
            raise Stopped

    return tell


def _get(url: str, headers: dict[str, str], file: SourceFile, path: Path, told: Told) -> None:
    from huggingface_hub.file_download import http_get

    path.parent.mkdir(parents=True, exist_ok=True)
    there = _size(path)
    if there > file.size_bytes:
        path.unlink()
        told(-there)
        there = 0
    with path.open("r+b" if path.exists() else "w+b") as opened:
        opened.seek(there)
        counted: Any = _Counted(opened, told)
        http_get(
            url,
            counted,
            resume_size=there,
            headers=headers,
            expected_size=file.size_bytes,
            displayed_filename=file.name,
        )


class _Counted:
    """What the hub's client writes into; tells how many bytes came."""

    def __init__(self, file: BinaryIO, told: Told) -> None:
        self._file = file
        self._told = told

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._told(written)
        return written

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def truncate(self) -> int:
        # A server that ignores the range begins anew, and so does the count.
        self._file.flush()
        gone = os.fstat(self._file.fileno()).st_size - self._file.tell()
        self._told(-gone)
        return self._file.truncate()


def _asked_pause_s(error: BaseException) -> float:
    response = getattr(error, "response", None)
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return min(float(asked), 600.0) if asked.isdigit() else 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
