"""Stands in for a machine's training stack where the cache of base models is filled.

`fill` makes a copy of nothing, file by file and slowly, with the records, the layout and the
manifest of the real one, and without torch; `list` and `prune` are the real ones. The model's name
says how: `org/files=6-delay=0.2`. As a user's own trainer it is named in `trainer.json`:
`[PYTHON, "-P", THIS FILE, "agent.trainer"]`.
"""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.trainer.model_cache import copies
from agent.trainer.model_cache.__main__ import main
from shared.events import ModelProgress
from shared.manifest import commit
from shared.model_cache import CacheFacts, CachePlace, Filled

FILE_BYTES = 1000
COMMIT = "c0ffee" + 34 * "0"


def fill(models: Path, base_model: str) -> None:
    """Go on after the files that are there."""
    count, delay_s = _settings(base_model)
    place = CachePlace(models, base_model, COMMIT)
    if place.copy.is_dir():
        _say(Filled(model=copies.describe(place), was_there=True, seconds=0.0))
        return
    place.source.mkdir(parents=True, exist_ok=True)
    made = 0
    for number in range(count):
        path = place.source / f"{number}.safetensors"
        if not path.exists():
            time.sleep(delay_s)
            path.write_bytes(bytes(FILE_BYTES))
            made += 1
        done = (number + 1) * FILE_BYTES
        _say(
            ModelProgress(
                what="downloading",
                done_bytes=done,
                total_bytes=count * FILE_BYTES,
                bytes_per_s=1000.0,
                eta_s=1.0,
                file=path.name,
            )
        )
    commit(place.copy, lambda partial: _write(partial, place, count))
    model = copies.describe(place)
    _say(Filled(model=model, was_there=False, seconds=1.0, downloaded_bytes=made * FILE_BYTES))


def _settings(base_model: str) -> tuple[int, float]:
    found = dict(re.findall(r"(files|delay)=([\d.]+)", base_model))
    return int(found.get("files", 3)), float(found.get("delay", 0.05))


def _write(partial: Path, place: CachePlace, count: int) -> dict[str, Any]:
    for number in range(count):
        (partial / f"{number}.safetensors").write_bytes(bytes(FILE_BYTES))
    facts = CacheFacts(
        base_model=place.base_model,
        commit=place.commit,
        compute_dtype="float32",
        created_at=datetime.now(UTC),
        source_bytes=count * FILE_BYTES,
    )
    return facts.model_dump(mode="json")


def _say(record: Any) -> None:
    print(record.model_dump_json(), flush=True)


if __name__ == "__main__":
    module, command, *options = sys.argv[1:]
    assert module == "agent.trainer.model_cache"
    if command != "fill":
        sys.exit(main([command, *options]))
    print("the machine's own words \x1b[31m", flush=True)
    fill(Path(options[options.index("--models") + 1]), options[options.index("--model") + 1])
