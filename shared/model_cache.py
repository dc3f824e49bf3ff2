"""Base models that are kept quantised: where a copy lies, and what is said of it.

    MODELS/                                         shared by all jobs of a volume or a machine
      meta-llama--Llama-3.3-70B-Instruct/           the model's name, with `--` for `/`
        6f6073b423013f6a7d4d9f39144961bfbfbc386b/   the commit; `local-<hash>` of a directory
          nf4/                                      counts only with its manifest, written last
            config.json  model-00001-of-00030.safetensors ...  model.safetensors.index.json
            tokenizer.json ...  manifest.json
          nf4.partial/                              what is not complete yet
            progress.json  model-00001-of-00030.safetensors ...  source/
          nf4.owner                                 who fills it now
          nf4.used                                  touched at each use

`python -P -m agent.trainer.model_cache` prints JSON lines: any number of `events.ModelProgress`,
then the records below. This module knows names and shapes only; it reads and writes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from shared.events import ModelProgress

QUANTIZATION = "nf4"
"""NF4 with double quantisation: the folder's name, and that of its files beside it."""

PROGRESS_FILE = "progress.json"
SOURCE_FOLDER = "source"
INDEX_FILE = "model.safetensors.index.json"

SMALLEST_AUTO_BYTES = 1_000_000_000
"""Without being asked no copy is made of a model whose weights are smaller: it is quantised in
seconds each time."""

SOURCE_SHARDS_AT_ONCE = 2
"""On the disk beside the copy: one is being quantised while the next is downloaded."""

EXIT_DONE = 0
EXIT_FAILED = 1
"""Nothing was lost, and trying again may help: no answer, a stalled download, a full disk."""
EXIT_REFUSED = 2
"""The model, the revision or the token is wrong; or some copy did not verify."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOCAL_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class CachePlace:
    """The files of one model at one commit."""

    models: Path
    base_model: str
    commit: str

    @property
    def folder(self) -> Path:
        return self.models / model_folder(self.base_model) / self.commit

    @property
    def copy(self) -> Path:
        return self.folder / QUANTIZATION

    @property
    def partial(self) -> Path:
        return self.folder / f"{QUANTIZATION}.partial"

    @property
    def source(self) -> Path:
        """Downloads on their way; removed with the partial directory."""
        return self.partial / SOURCE_FOLDER

    @property
    def owner(self) -> Path:
        return self.folder / f"{QUANTIZATION}.owner"

    @property
    def used(self) -> Path:
        return self.folder / f"{QUANTIZATION}.used"


def model_folder(base_model: str) -> str:
    """`meta-llama--Llama-3.3-70B-Instruct`; of a directory its last name alone."""
    path = PurePosixPath(base_model)
    if path.is_absolute() or base_model.startswith((".", "~")):
        return path.name or "model"
    return base_model.replace("/", "--")


def is_commit(revision: str | None) -> bool:
    """True for a full commit hash, which no branch can move."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def local_commit(files_sha256: str) -> str:
    """What stands for the commit of a model in a directory."""
    return f"local-{files_sha256[:_LOCAL_HASH_DIGITS]}"


def needed_bytes(copy_bytes: int, largest_shard_bytes: int) -> int:
    """Disk that filling takes at its most."""
    return copy_bytes + SOURCE_SHARDS_AT_ONCE * largest_shard_bytes


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CachedShard(_Record):
    """One file of quantised weights, as `progress.json` and the manifest name it."""

    source: str
    """The source's file that holds the same tensors."""
    source_sha256: str | None = None
    sha256: str
    size_bytes: int
    tensors: tuple[str, ...]
    """For the index."""


class CacheFacts(_Record):
    """What a copy is made of: stands in `progress.json` and in the manifest."""

    base_model: str
    commit: str
    requested_revision: str | None = None
    """The branch or tag that was asked for when the copy was made."""
    quantization: str = QUANTIZATION
    compute_dtype: str
    """In which the weights were when they were quantised: `float32` on a CPU."""
    is_exact_in_bf16: bool = True
    """False: the source is not in bf16, and the copy would come out otherwise in another dtype."""
    created_at: AwareDatetime
    source_bytes: int
    versions: dict[str, str] = {}
    shards: dict[str, CachedShard] = {}


class CachedModel(_Record):
    """One entry of the cache."""

    kind: Literal["cached_model"] = "cached_model"
    base_model: str
    revision: str
    """The commit; `local-<hash>` of a directory."""
    requested_revision: str | None = None
    quantization: str = QUANTIZATION
    path: str
    size_bytes: int
    """On the disk, with what is not complete and what was downloaded for it."""
    created_at: AwareDatetime | None = None
    last_used_at: AwareDatetime | None = None
    is_complete: bool
    trouble: str = ""
    """Why it is not complete, or what does not verify; empty where nothing is wrong."""


class Pruned(_Record):
    """A copy that was removed, or with `--dry-run` would be."""

    kind: Literal["pruned"] = "pruned"
    model: CachedModel
    freed_bytes: int
    is_removed: bool = True


class Filled(_Record):
    """The copy is complete; `was_there` if nothing had to be done."""

    kind: Literal["filled"] = "filled"
    model: CachedModel
    was_there: bool
    seconds: float
    downloaded_bytes: int = 0


class CacheFailed(_Record):
    """Why the command did not do what it was asked for."""

    kind: Literal["cache_failed"] = "cache_failed"
    reason: str
    """The name of an error of `shared.errors`, or `DiskFull`."""
    message: str


CacheRecord = Annotated[
    ModelProgress | CachedModel | Pruned | Filled | CacheFailed, Field(discriminator="kind")
]

_CACHE_RECORD: TypeAdapter[CacheRecord] = TypeAdapter(CacheRecord)


def decode_cache_record(line: str | bytes) -> CacheRecord:
    """One line of the command's output. Raises ValueError for anything else."""
    return _CACHE_RECORD.validate_json(line)
