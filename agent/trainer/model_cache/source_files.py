"""The files of a base model on this disk, for as long as a copy is made of them.

What the hub's cache holds is used where it lies; the rest is downloaded and removed again. It knows
nothing of quantisation.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

from agent.trainer.model_cache import download, sources
from agent.trainer.model_cache.progress import Progress
from agent.trainer.model_cache.sources import WEIGHTS_INDEX, Source, SourceFile
from shared.manifest import MANIFEST_NAME, file_sha256
from shared.model_cache import PROGRESS_FILE


class SourceFiles:
    """Fetches into `folder`; safe to kill, and told to stop from another thread."""

    def __init__(self, source: Source, folder: Path, patience: download.Patience | None) -> None:
        self._source = source
        self._folder = folder
        self._patience = patience
        self._stopped = threading.Event()
        self.downloaded_bytes = 0

    def stop(self) -> None:
        """Whatever is on its way is broken off; what has come is kept."""
        self._stopped.set()

    def fetch(self, file: SourceFile, progress: Progress | None = None) -> Path:
        """The file on this disk, as the hub has it.

        Raises:
            InvalidBaseModel, DownloadFailed: see `download.download`.
        """
        lies_at = self.lies_at(file)
        if lies_at is not None and self._holds(lies_at, file):
            return lies_at

        def told(size_bytes: int) -> None:
            self.downloaded_bytes += size_bytes
            if progress is not None:
                progress.add(size_bytes)

        if progress is not None:
            progress.works_on(file.name)
        target = self._folder / file.name
        source = self._source
        download.download(
            source.base_model,
            source.commit,
            file,
            target,
            told,
            self._stopped,
            self._patience,
        )
        return target

    def lies_at(self, file: SourceFile) -> Path | None:
        """Where the file lies already; one that was downloaded before counts once it is whole."""
        target = self._folder / file.name
        return target if target.is_file() else sources.cached_file(self._source, file.name)

    def come(self, file: SourceFile) -> int:
        """Bytes of an unfinished download."""
        path = download.unfinished(self._folder / file.name)
        return path.stat().st_size if path.is_file() else 0

    def remove(self, path: Path) -> None:
        """Remove a file that was downloaded for the copy, and no other."""
        if path.is_relative_to(self._folder):
            path.unlink()

    def copy_small(self, directory: Path) -> list[str]:
        """Put configuration and tokenizer into `directory`; returns their names."""
        names = []
        for file in self._source.small_files:
            if file.name not in (MANIFEST_NAME, PROGRESS_FILE):
                target = directory / file.name
                shutil.copyfile(self.fetch(file), target)
                with target.open("rb") as copied:
                    os.fsync(copied.fileno())
                names.append(file.name)
        return names

    def index(self) -> dict[str, Any] | None:
        """The weights' index; None where they are one file."""
        file = self._source.files.get(WEIGHTS_INDEX)
        return None if file is None else sources.read_index(self.fetch(file))

    def _holds(self, path: Path, file: SourceFile) -> bool:
        """False for a file of the hub's cache that is not what the hub has."""
        if file.sha256 is None or path.is_relative_to(self._folder):
            return True
        return file_sha256(path) == file.sha256
