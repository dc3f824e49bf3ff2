"""Unpacks an archive with an adapter that came from elsewhere: foreign input in every respect.

Nothing is written outside the new directory, nothing that is no plain file, nothing that is far
larger than the archive; and the directory is there only once its manifest holds. Blocks.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from shared.clean_text import clean_line
from shared.errors import AdapterRejected, IntegrityError, InvalidInput
from shared.manifest import MANIFEST_NAME, PARTIAL_SUFFIX, sync_directory, verify

MOST_RATIO = 100
"""Unpacked bytes for one of the archive's: weights shrink to a half, text to a tenth, and a bomb
of the usual kind to a thousandth (2026-11)."""
_ALWAYS_ALLOWED_BYTES = 16 * 2**20
_MOST_FILES = 1000
_COPY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive, as it says of itself."""

    name: str
    size_bytes: int
    is_plain: bool
    """A file; not a link, a device, or anything else that is not just bytes."""
    is_directory: bool = False


def unpack(archive: Path, target: Path) -> Path:
    """The new directory `target` with what is in the archive; returns the adapter's in it.

    Raises:
        AdapterRejected: an entry that leaves the directory, a link, a bomb, or no whole adapter.
        InvalidInput: no ZIP or tar file, or `target` is there already.
    """
    if os.path.lexists(target):
        raise InvalidInput(f"{target}: is there already. Choose another place with --to.")
    partial = target.with_name(target.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True, mode=0o700)
        with _opened(archive) as members:
            _write_all(members, partial, archive)
        adapter = _adapter_in(partial)
        os.rename(partial, target)
        sync_directory(target.parent)
    except OSError as error:
        raise InvalidInput(f"{target}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target / adapter


def _write_all(members: Iterator[tuple[Member, IO[bytes]]], partial: Path, archive: Path) -> None:
    allowed = max(MOST_RATIO * archive.stat().st_size, _ALWAYS_ALLOWED_BYTES)
    seen: set[str] = set()
    for member, source in members:
        where = _checked_path(member, archive)
        if member.is_directory:
            continue
        if str(where) in seen or len(seen) >= _MOST_FILES:
            raise AdapterRejected(f"{archive}: has too many entries, or one twice.")
        seen.add(str(where))
        allowed -= _copy(source, partial / where, allowed, archive)


def _checked_path(member: Member, archive: Path) -> PurePosixPath:
    """Where the entry goes, below the new directory."""
    name = member.name.removesuffix("/") if member.is_directory else member.name
    parts = name.split("/")
    is_clean = name == clean_line(name) and "\\" not in name and not name.startswith("~")
    if not is_clean or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise AdapterRejected(
            f"{archive}: its entry {clean_line(member.name)!r} would leave the directory."
        )
    if not member.is_plain and not member.is_directory:
        raise AdapterRejected(
            f"{archive}: its entry {clean_line(member.name)!r} is a link or a device, not a file."
        )
    return PurePosixPath(*parts)


def _copy(source: IO[bytes], target: Path, allowed: int, archive: Path) -> int:
    """The bytes written; what an entry says of its own size is not believed."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = 0
    with target.open("xb") as file:
        while chunk := source.read(_COPY_BYTES):
            written += len(chunk)
            if written > allowed:
                raise AdapterRejected(
                    f"{archive}: unpacks to more than {MOST_RATIO} times its size. That is no "
                    "adapter; nothing of it was kept."
                )
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return written


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[Member, IO[bytes]]]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _of_zip(opened)
        else:
            with tarfile.open(archive) as tar:
                yield _of_tar(tar)
    except FileNotFoundError as error:
        raise InvalidInput(f"{archive}: there is no such file.") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise InvalidInput(
            f"{archive}: is no ZIP or tar file that can be read ({error})."
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # A method, or a password.
        raise InvalidInput(f"{archive}: cannot be unpacked here ({error}).") from error


def _of_zip(archive: zipfile.ZipFile) -> Iterator[tuple[Member, IO[bytes]]]:
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        is_plain = not entry.is_dir() and kind in (0, stat.S_IFREG)
        # `filename` is what zipfile has made of it: up to the first NUL, with / for this system.
        member = Member(entry.orig_filename, entry.file_size, is_plain, entry.is_dir())
        with archive.open(entry) as source:
            yield member, source


def _of_tar(archive: tarfile.TarFile) -> Iterator[tuple[Member, IO[bytes]]]:
    for entry in archive:
        member = Member(
            entry.name, entry.size, entry.isreg() and not entry.issparse(), entry.isdir()
        )
        source = archive.extractfile(entry) if entry.isreg() else None
        if source is None:
            with open(os.devnull, "rb") as nothing:
                yield member, nothing
        else:
            with source:
                yield member, source


def _adapter_in(directory: Path) -> Path:
    """The one directory in there with a manifest that holds."""
    found = [path.parent for path in directory.rglob(MANIFEST_NAME)]
    if len(found) != 1:
        raise AdapterRejected(f"the archive has {len(found)} directories with a {MANIFEST_NAME}.")
    try:
        verify(found[0])
    except IntegrityError as error:
        raise AdapterRejected(f"what was unpacked does not verify: {error}") from error
    return found[0].relative_to(directory)
