"""Whom notifications go to outside: addresses of the library apprise, each of them a secret.

They stand in `BRIGHTRUN_NOTIFY_URLS`, or in a file that only its owner can read. What is shown of
one never holds more than its scheme, and its host where that is no secret.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.manifest import write_atomic

VARIABLE = "BRIGHTRUN_NOTIFY_URLS"
FILE_NAME = "notify-urls"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
# Of other schemes the host is a token, such as tgram://TOKEN/CHAT. With a path, ntfy's is a host.
_HOST_IS_A_HOST = frozenset(
    {
        *("http", "https", "json", "jsons", "xml", "xmls", "form", "forms"),
        *("mailto", "mailtos", "gotify", "gotifys", "matrix", "matrixs", "mmost", "mmosts"),
        *("rocket", "rockets"),
    }
)
_HOST_IF_PATH = frozenset({"ntfy", "ntfys"})


@dataclass(frozen=True, slots=True)
class Receiver:
    """One address; `url` is never shown."""

    url: str = field(repr=False)
    is_from_environment: bool = False

    @property
    def mark(self) -> str:
        """Tells it from others in the store, and tells nothing of it."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """`mailtos://example.org`, `slack://…`."""
        scheme = self.url.partition("://")[0].lower()
        try:
            parts = urlsplit(self.url)
            host, has_path = clean_line(parts.hostname or ""), bool(parts.path.strip("/"))
        except ValueError:
            return f"{scheme}://…"
        is_host = scheme in _HOST_IS_A_HOST or (scheme in _HOST_IF_PATH and has_path)
        return f"{scheme}://{host if is_host and host else '…'}"


def receivers(home: Path, environ: Mapping[str, str] = os.environ) -> list[Receiver]:
    """Those of the environment, then those of the file; each once.

    Raises:
        InvalidInput: the file is open to others, or cannot be read.
    """
    found = {
        url: Receiver(url, is_from_environment=True) for url in _split(environ.get(VARIABLE, ""))
    }
    for url in _read(home / FILE_NAME):
        found.setdefault(url, Receiver(url))
    return list(found.values())


def add_receiver(home: Path, url: str) -> Receiver:
    """Keep one more address; one that is there already stays.

    Raises:
        InvalidInput: it is no address, or the file cannot be used.
    """
    url = url.strip()
    if _ADDRESS.fullmatch(url) is None:
        raise InvalidInput(
            "that is no address such as mailtos://..., slack://..., ntfy://HOST/TOPIC or "
            "jsons://HOST/PATH: apprise's own documentation lists them all."
        )
    path = home / FILE_NAME
    kept = _read(path)
    if url not in kept:
        _write(path, [*kept, url])
    return Receiver(url)


def remove_receiver(home: Path, number: int) -> Receiver:
    """Forget the one with this number in the list, counted from 1.

    Raises:
        InvalidInput: there is none, or it stands in the environment.
    """
    known = receivers(home)
    if not 1 <= number <= len(known):
        raise InvalidInput(f"receiver {number}: `brightrun notify list` has {len(known)}.")
    receiver = known[number - 1]
    if receiver.is_from_environment:
        raise InvalidInput(f"{receiver.shown} stands in {VARIABLE}: take it out there.")
    path = home / FILE_NAME
    _write(path, [url for url in _read(path) if url != receiver.url])
    return receiver


def _split(text: str) -> list[str]:
    """Addresses between white space, or commas before a scheme: their own values have commas."""
    words = re.split(r"\s+|,(?=[A-Za-z][A-Za-z0-9+.-]*://)", text)
    return [word.rstrip(",") for word in words if _ADDRESS.fullmatch(word.rstrip(","))]


def _read(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise InvalidInput(f"{path}: others can read it; run `chmod 600 {path}`.")
            return _split(file.read())
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}.") from error


def _write(path: Path, urls: list[str]) -> None:
    before = os.umask(0o077)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(f"{url}\n" for url in urls))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written: {error}.") from error
    finally:
        os.umask(before)
