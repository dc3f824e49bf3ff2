"""Makes a quantised copy of a base model, file by file, and can be killed at any moment.

While one file of the source is quantised the next one is downloaded; what was quantised is removed
again, if it was downloaded for that. So a 70B model of 141 GB needs the 39.5 GB of its copy and two
of its files on the disk. Each finished file is recorded with its hash in `progress.json`; the next
run goes on after them. A damaged file of a finished copy is made anew alone.
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from agent.trainer.failures import is_disk_full
from agent.trainer.model_cache import beside_weights, copies, download
from agent.trainer.model_cache.ownership import Ownership, OwnershipLost, owned
from agent.trainer.model_cache.progress import Progress, Say
from agent.trainer.model_cache.quantise import (
    Layers,
    NotCacheable,
    copy_bytes,
    quantise_file,
    quantised_layers,
)
from agent.trainer.model_cache.source_files import SourceFiles
from agent.trainer.model_cache.sources import CONFIG_FILE, Source, SourceFile
from shared.errors import IntegrityError, NotEnoughDisk
from shared.manifest import MANIFEST_NAME, file_sha256, sync_directory, write_atomic
from shared.model_cache import (
    INDEX_FILE,
    PROGRESS_FILE,
    SOURCE_SHARDS_AT_ONCE,
    CachedShard,
    CacheFacts,
    CachePlace,
    needed_bytes,
)
from shared.number_text import size


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are quantised on this machine."""

    quantization: BitsAndBytesConfig
    dtype: torch.dtype
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    """A copy that is complete and whose hashes hold."""

    place: CachePlace
    was_there: bool
    downloaded_bytes: int
    seconds: float = 0.0
    mended: tuple[str, ...] = ()
    """Files that were damaged, and were made anew."""


def ensure_copy(
    models: Path,
    source: Source,
    recipe: Recipe,
    say: Say,
    patience: download.Patience | None = None,
) -> Ready:
    """The copy of `source`, verified; it is made, completed or mended first where needed.

    Several processes may ask for the same copy: one makes it, the others wait.

    Raises:
        NotCacheable: no copy can be made; load the model as it is.
        InvalidBaseModel, DownloadFailed, NotEnoughDisk: see `shared.errors`.
    """
    began = time.monotonic()
    ready = None
    while ready is None:
        ready = _try_to_ensure(models, source, recipe, say, patience)
    copies.touch_used(ready.place)
    return replace(ready, seconds=time.monotonic() - began)


def _try_to_ensure(
    models: Path,
    source: Source,
    recipe: Recipe,
    say: Say,
    patience: download.Patience | None,
) -> Ready | None:
    """None where another process has taken the work over: look again."""
    place = CachePlace(models, source.base_model, source.commit)
    if place.copy.is_dir() and not _damage(place, say):
        return Ready(place, True, 0)

    def is_done() -> bool:
        # Another process has finished it meanwhile; a damaged one is a directory, too.
        return place.copy.is_dir() and not had_damage

    had_damage = place.copy.is_dir()
    try:
        with owned(place.owner, is_done, say) as ownership:
            if ownership is None:
                return None
            return _Filler(place, source, recipe, ownership, say, patience).work()
    except OwnershipLost:
        return None


def _damage(place: CachePlace, say: Say) -> list[str]:
    """Names of the files that do not hold; the manifest's own name where there is none."""
    try:
        files = copies.read_manifest(place.copy)["files"]
    except IntegrityError:
        return [MANIFEST_NAME]
    total = sum(entry["size_bytes"] for entry in files.values())
    with Progress(say, "verifying", total) as progress:
        return copies.damaged_files(place.copy, files, progress.add, progress.works_on)


class _Filler:
    """Works on one copy that this process owns."""

    def __init__(
        self,
        place: CachePlace,
        source: Source,
        recipe: Recipe,
        ownership: Ownership,
        say: Say,
        patience: download.Patience | None,
    ) -> None:
        self._place = place
        self._source = source
        self._recipe = recipe
        self._ownership = ownership
        self._say_to = say
        self._files = SourceFiles(source, place.source, patience)
        self._needed = 0

    def work(self) -> Ready:
        """Fill, or mend what is there.

        Raises:
            NotEnoughDisk: also where the disk is full on the way.
        """
        try:
            return self.mend() if self._place.copy.is_dir() else self.fill()
        except NotCacheable:
            shutil.rmtree(self._place.partial)
            raise
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise self.no_room() from error

    # --- the whole copy ---------------------------------------------------------------------

    def fill(self) -> Ready:
        """Go on where an earlier run ended, or begin."""
        place = self._place
        place.partial.mkdir(parents=True, exist_ok=True)
        small = self._files.copy_small(place.partial)
        layers = self._layers()
        shards = self._source.shards(self._files.index())
        facts = self._facts(self._done_before(shards))
        self._require_room(layers, shards, facts)
        write_atomic(place.partial / PROGRESS_FILE, facts.model_dump_json())
        facts = self._quantise(shards, layers, facts)
        self._commit(facts, small)
        return Ready(place, False, self._files.downloaded_bytes)

    def _quantise(self, shards: list[SourceFile], layers: Layers, facts: CacheFacts) -> CacheFacts:
        """Quantise the shards that are still missing; returns the facts with all of them."""
        names = {file.name: _shard_name(i, len(shards)) for i, file in enumerate(shards, 1)}
        missing = [file for file in shards if names[file.name] not in facts.shards]
        to_fetch = [file for file in missing if self._files.lies_at(file) is None]
        fetch_total = sum(file.size_bytes for file in to_fetch)
        fetched = sum(self._files.come(file) for file in to_fetch)
        # The total is the whole model's, so that a second run goes on where the bar stood.
        all_bytes = sum(file.size_bytes for file in shards)
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(1))
            # Whatever ends this, a download that is on its way does not hold it up.
            stack.callback(self._files.stop)
            if fetch_total:
                done = all_bytes - fetch_total + fetched
                progress = stack.enter_context(self._progress("downloading", all_bytes, done))
            else:
                left = sum(file.size_bytes for file in missing)
                progress = stack.enter_context(
                    self._progress("quantising", all_bytes, all_bytes - left)
                )
            coming = pool.submit(self._files.fetch, missing[0], progress) if missing else None
            for position, file in enumerate(missing):
                assert coming is not None
                path = coming.result()
                following = missing[position + 1 : position + 2]
                coming = (
                    pool.submit(self._files.fetch, following[0], progress) if following else None
                )
                if fetch_total and not following:
                    progress.begin("quantising", all_bytes, all_bytes - file.size_bytes)
                progress.works_on(file.name)
                counts = not fetch_total or not following
                facts = self._one(
                    file, path, names[file.name], layers, facts, progress if counts else None
                )
        return facts

    def _one(
        self,
        file: SourceFile,
        path: Path,
        name: str,
        layers: Layers,
        facts: CacheFacts,
        progress: Progress | None,
    ) -> CacheFacts:
        """Quantise one file into the partial directory and record it."""
        shard, is_exact = self._make(file, path, name, layers, progress)
        facts = facts.model_copy(
            update={
                "shards": {**facts.shards, name: shard},
                "is_exact_in_bf16": facts.is_exact_in_bf16 and is_exact,
            }
        )
        self._ownership.check()
        write_atomic(self._place.partial / PROGRESS_FILE, facts.model_dump_json())
        self._files.remove(path)
        return facts

    def _make(
        self, file: SourceFile, path: Path, name: str, layers: Layers, progress: Progress | None
    ) -> tuple[CachedShard, bool]:
        target = self._place.partial / name
        writing = target.with_name(f"{name}.{os.getpid()}.writing")
        told = progress.add if progress else lambda size_bytes: None
        try:
            written = quantise_file(
                path, writing, layers, self._recipe.quantization, self._recipe.dtype, told
            )
            with writing.open("rb") as opened:
                os.fsync(opened.fileno())
            self._ownership.check()
            os.replace(writing, target)
        finally:
            writing.unlink(missing_ok=True)
        sync_directory(target.parent)
        shard = CachedShard(
            source=file.name,
            source_sha256=file.sha256,
            sha256=file_sha256(target),
            size_bytes=target.stat().st_size,
            tensors=written.tensors,
        )
        return shard, written.is_exact_in_bf16

    def _commit(self, facts: CacheFacts, small: list[str]) -> None:
        """Put config, index and manifest down, and give the directory its name."""
        partial = self._place.partial
        beside_weights.write_config(partial, self._recipe.quantization)
        beside_weights.write_index(partial, facts)
        shutil.rmtree(self._place.source, ignore_errors=True)
        kept = {*facts.shards, *small, CONFIG_FILE, INDEX_FILE}
        for path in partial.iterdir():
            if path.name not in kept:
                path.unlink()
        files = beside_weights.of_shards(facts)
        for name in kept - set(files):
            files[name] = beside_weights.described(partial / name)
        beside_weights.write_manifest(partial, facts, files)
        self._ownership.check()
        os.rename(partial, self._place.copy)
        sync_directory(self._place.folder)

    def _done_before(self, shards: list[SourceFile]) -> CacheFacts | None:
        """What an earlier run has recorded, without what does not verify any more."""
        try:
            facts = copies.read_facts(self._place.partial / PROGRESS_FILE)
        except IntegrityError:
            return None
        names = {_shard_name(i, len(shards)): file.name for i, file in enumerate(shards, 1)}
        files = {
            name: entry
            for name, entry in beside_weights.of_shards(facts).items()
            if names.get(name) == facts.shards[name].source
        }
        if facts.compute_dtype != str(self._recipe.dtype) or not files:
            return None
        total = sum(entry["size_bytes"] for entry in files.values())
        with self._progress("verifying", total, 0) as progress:
            bad = copies.damaged_files(self._place.partial, files, progress.add, progress.works_on)
        good = {name: facts.shards[name] for name in files if name not in bad}
        return facts.model_copy(update={"shards": good})

    def _facts(self, before: CacheFacts | None) -> CacheFacts:
        return before or CacheFacts(
            base_model=self._source.base_model,
            commit=self._source.commit,
            requested_revision=self._source.requested_revision,
            compute_dtype=str(self._recipe.dtype),
            created_at=datetime.now(UTC),
            source_bytes=self._source.weights_bytes,
            versions=self._recipe.versions,
        )

    # --- a finished copy with damage -----------------------------------------------------------

    def mend(self) -> Ready:
        """Make damaged files anew, each alone; without a manifest all of it."""
        place = self._place
        bad = _damage(place, self._say_to)
        if MANIFEST_NAME in bad:
            # Nothing says what the files should be.
            shutil.rmtree(place.partial, ignore_errors=True)
            os.rename(place.copy, place.partial)
            return self.fill()
        if not bad:
            return Ready(place, True, 0)
        place.partial.mkdir(parents=True, exist_ok=True)
        facts = copies.read_facts(place.copy / MANIFEST_NAME)
        files = copies.read_manifest(place.copy)["files"]
        self._files.copy_small(place.partial)
        layers = self._layers()
        by_name = {file.name: file for file in self._source.files.values()}
        for name in bad:
            shard = facts.shards.get(name)
            if shard is not None:
                facts = self._mend_shard(name, by_name[shard.source], layers, facts)
            elif name == CONFIG_FILE:
                beside_weights.write_config(place.partial, self._recipe.quantization)
            elif name == INDEX_FILE:
                beside_weights.write_index(place.partial, facts)
            files[name] = beside_weights.described(place.partial / name)
            self._ownership.check()
            os.replace(place.partial / name, place.copy / name)
            sync_directory(place.copy)
        beside_weights.write_manifest(place.copy, facts, files)
        shutil.rmtree(place.partial)
        return Ready(place, False, self._files.downloaded_bytes, mended=tuple(bad))

    def _mend_shard(
        self, name: str, file: SourceFile, layers: Layers, facts: CacheFacts
    ) -> CacheFacts:
        with (
            self._progress("downloading", file.size_bytes, self._files.come(file)) as progress,
            ThreadPoolExecutor(1) as pool,
        ):
            path = pool.submit(self._files.fetch, file, progress).result()
            progress.begin("quantising", file.size_bytes)
            shard, _ = self._make(file, path, name, layers, progress)
        self._files.remove(path)
        return facts.model_copy(update={"shards": {**facts.shards, name: shard}})

    def _layers(self) -> Layers:
        config = beside_weights.read_config(self._place.partial, self._source.base_model)
        layers = quantised_layers(config, self._recipe.quantization)
        index = self._files.index()
        if index is not None and (absent := layers.names - set(index["weight_map"])):
            raise NotCacheable(
                f"{self._source.base_model}: {min(absent)} and {len(absent) - 1} more layers are "
                "stored under other names than they are used"
            )
        return layers

    # --- layers, room and progress ----------------------------------------------------------

    def _require_room(self, layers: Layers, shards: list[SourceFile], facts: CacheFacts) -> None:
        """Refuse before the download what would fill the disk."""
        largest = max(file.size_bytes for file in shards)
        whole = copy_bytes(layers, sum(file.size_bytes for file in shards))
        is_downloaded = any(self._files.lies_at(file) is None for file in shards)
        at_once = min(SOURCE_SHARDS_AT_ONCE, len(shards))
        beside = largest * at_once / SOURCE_SHARDS_AT_ONCE if is_downloaded else 0
        there = sum(shard.size_bytes for shard in facts.shards.values())
        there += sum(self._files.come(file) for file in shards)
        self._needed = max(needed_bytes(whole, round(beside)) - there, 0)
        if shutil.disk_usage(self._place.partial).free < self._needed:
            raise self.no_room()

    def no_room(self) -> NotEnoughDisk:
        """What to say; downloads that are not whole go, so that others have the room."""
        shutil.rmtree(self._place.source, ignore_errors=True)
        free = shutil.disk_usage(self._place.folder).free
        return NotEnoughDisk(
            f"{self._place.folder}: the quantised copy of {self._source.base_model} needs "
            f"{size(self._needed)} more and {size(free)} are free. Use a larger volume, or make "
            "room with `brightrun models cache prune`."
        )

    def _progress(self, what: Any, total: int, done: int) -> Progress:
        def say(progress: Any) -> None:
            self._ownership.tell(progress)
            self._say_to(progress)

        return Progress(say, what, total, done)


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"
