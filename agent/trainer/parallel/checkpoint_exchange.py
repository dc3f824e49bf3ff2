"""Has every replica resume from the checkpoint that the first one found.

On one machine, or on a disk that the machines share, it is there for all. On another machine it is
not: only the first replica writes checkpoints. Then its files are sent, and count by their manifest
as they do anywhere.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from agent.trainer.parallel.replicas import Replicas
from shared import manifest
from shared.errors import IntegrityError

_PIECE_BYTES = 64 * 2**20


def agree_on_checkpoint(replicas: Replicas, found: Path | None, folder: Path) -> Path | None:
    """The first replica's checkpoint, as a directory that this replica can read; None if it has
    none. What has to be fetched lies in `folder` afterwards.

    Raises:
        IntegrityError: what was fetched is not what the first replica has.
        ReplicaLost: another replica is gone.
    """
    if replicas.count == 1:
        return found
    chosen = None if found is None else [str(found), manifest.manifest_sha256(found)]
    chosen = json.loads(replicas.from_first(json.dumps(chosen).encode()))
    if chosen is None:
        return None
    path, sha256 = Path(chosen[0]), chosen[1]
    is_here = _is_there(path, sha256)
    if not replicas.any(not is_here):
        return path
    target = path if is_here else folder / path.name
    _fetch(replicas, path, None if is_here else target)
    if not _is_there(target, sha256):
        raise IntegrityError(f"{target}: is not the first replica's checkpoint")
    manifest.verify(target)
    return target


def _is_there(path: Path, sha256: str) -> bool:
    return (path / manifest.MANIFEST_NAME).is_file() and manifest.manifest_sha256(path) == sha256


def _fetch(replicas: Replicas, source: Path, target: Path | None) -> None:
    """Send the first replica's files; written to `target`, in one rename, where that is given."""
    listing = (
        [[entry.name, entry.stat().st_size] for entry in source.iterdir()]
        if (replicas.is_first)
        else []
    )
    files = json.loads(replicas.from_first(json.dumps(listing).encode()))
    partial = None if target is None else target.with_name(target.name + manifest.PARTIAL_SUFFIX)
    if partial is not None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    for name, size_bytes in files:
        _fetch_file(replicas, source / name, size_bytes, partial and partial / Path(name).name)
    if partial is not None and target is not None:
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)


def _fetch_file(replicas: Replicas, source: Path, size_bytes: int, target: Path | None) -> None:
    """In pieces: a whole file of 828 MB in memory on each side would be too much."""
    reader = source.open("rb") if replicas.is_first else None
    writer = None if target is None else target.open("wb")
    try:
        for _ in range(0, size_bytes, _PIECE_BYTES):
            piece = replicas.from_first(reader.read(_PIECE_BYTES) if reader else b"")
            if writer is not None:
                writer.write(piece)
    finally:
        for file in (reader, writer):
            if file is not None:
                file.close()
