"""What a base model consists of, and where its files come from: a directory, or the hub.

Whatever stands in the hub's own cache on this machine is taken from there. It knows nothing of
quantisation, and needs no torch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import DownloadFailed, InvalidBaseModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

HUB_TIMEOUT_S = 30.0

_SMALL_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".tiktoken")
"""Configuration, tokenizer and template; weights and pictures are not among them."""
_LARGEST_SMALL_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file; the hub tells the hash of large ones only."""

    name: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A model at one commit."""

    base_model: str
    commit: str
    requested_revision: str | None
    files: dict[str, SourceFile]
    directory: Path | None
    """None: on the hub."""

    @property
    def small_files(self) -> list[SourceFile]:
        """Everything that a copy needs beside the weights."""
        return [
            file
            for name, file in sorted(self.files.items())
            if name.endswith(_SMALL_SUFFIXES)
            and name != WEIGHTS_INDEX
            and "/" not in name
            and file.size_bytes <= _LARGEST_SMALL_BYTES
        ]

    @property
    def weights_bytes(self) -> int:
        """Of all safetensors files; some of them may be copies that nobody loads."""
        return sum(
            file.size_bytes
            for name, file in self.files.items()
            if name.endswith(".safetensors") and "/" not in name
        )

    def shards(self, index: dict[str, Any] | None) -> list[SourceFile]:
        """The files that hold the weights, as `index` (its own index file, if any) has them.

        Raises:
            InvalidBaseModel: there are none in safetensors.
        """
        names = [WEIGHTS_FILE] if index is None else sorted(set(index["weight_map"].values()))
        missing = [name for name in names if name not in self.files]
        if missing:
            raise InvalidBaseModel(
                f"{self.base_model} at {self.commit} has no {missing[0]}; weights are read from "
                "safetensors only. Choose a model that has them."
            )
        return [self.files[name] for name in names]


def in_directory(base_model: str, directory: Path, commit: str) -> Source:
    """A model that lies here."""
    files = {
        path.name: SourceFile(path.name, path.stat().st_size)
        for path in sorted(directory.iterdir())
        if path.is_file()
    }
    return Source(base_model, commit, None, files, directory)


def on_hub(base_model: str, revision: str | None) -> Source:
    """Ask the hub which commit `revision` is, and for its files with their sizes and hashes.

    Without an answer, what stands in the hub's cache here is taken if all of it does.

    Raises:
        InvalidBaseModel: no such model or revision, or it is gated; says what helps.
        DownloadFailed: the hub does not answer, and the model does not stand here.
    """
    from httpx2 import HTTPError  # What the hub's client lets through.
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        found = HfApi().model_info(
            base_model, revision=revision, timeout=HUB_TIMEOUT_S, files_metadata=True
        )
    except HFValidationError as error:
        raise InvalidBaseModel(
            f"{base_model}: is neither a directory here nor a model id of the hub"
        ) from error
    except (HfHubHTTPError, OfflineModeIsEnabled, HTTPError, OSError) as error:
        require_allowed(error, base_model, revision)
        cached = _in_hub_cache(base_model, revision)
        if cached is None:
            raise DownloadFailed(
                f"{base_model}: the hub does not answer ({first_line(error)}). Try again later."
            ) from error
        return cached
    files = {
        item.rfilename: SourceFile(
            item.rfilename, item.size or 0, item.lfs.sha256 if item.lfs else None
        )
        for item in found.siblings or ()
    }
    return Source(base_model, str(found.sha), revision, files, None)


def require_allowed(error: BaseException, base_model: str, revision: str | None) -> None:
    """Nothing where trying again may help.

    Raises:
        InvalidBaseModel: the hub has said no, for good.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" at revision {revision}" if revision else ""
    match error:
        case GatedRepoError():
            reason = (
                f"{base_model} is gated: set HF_TOKEN to the token of an account that has accepted "
                "its licence"
            )
        case RevisionNotFoundError():
            reason = f"{base_model} has no revision {revision}"
        case EntryNotFoundError():
            reason = f"{base_model}{at} lacks a file ({first_line(error)})"
        case RepositoryNotFoundError():
            reason = f"the hub has no {base_model}, or shows it only with the right HF_TOKEN"
        case HfHubHTTPError() if _status(error) in (401, 403):
            reason = f"the hub refuses {base_model} ({_status(error)}): set HF_TOKEN to a valid one"
        case _:
            return
    raise InvalidBaseModel(f"{reason}.") from error


def cached_file(source: Source, name: str) -> Path | None:
    """The file where it lies already, in the source's directory or in the hub's cache."""
    if source.directory is not None:
        return source.directory / name
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.base_model, name, revision=source.commit)
    return Path(found) if isinstance(found, str) else None


def read_index(path: Path) -> dict[str, Any]:
    """A weights' index.

    Raises:
        InvalidBaseModel: it is none.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(name, str) for name in index["weight_map"].values()):
            return dict(index)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidBaseModel(f"{path}: is no index of weights ({error})") from error
    raise InvalidBaseModel(f"{path}: is no index of weights")


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _in_hub_cache(base_model: str, revision: str | None) -> Source | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(base_model, CONFIG_FILE, revision=revision or "main")
    if not isinstance(found, str):
        return None
    directory = Path(found).parent
    source = in_directory(base_model, directory, directory.name)
    return None if any(_missing(source, directory)) else source


def _missing(source: Source, directory: Path) -> Iterator[str]:
    names = {WEIGHTS_FILE}
    if WEIGHTS_INDEX in source.files:
        names = set(read_index(directory / WEIGHTS_INDEX)["weight_map"].values())
    yield from names - set(source.files)
