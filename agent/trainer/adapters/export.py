"""The export process: `python -P -m agent.trainer.adapters.export ADAPTER --merged OUT [...]`.

Reads an adapter as `brightrun fetch` brings it home, merges it into the base model in bf16, and on
demand has llama.cpp's converter make a GGUF of it. What it is doing goes to stderr, the result as
one JSON object to stdout. The exit codes are those of `shared.errors`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from transformers.utils.logging import disable_progress_bar

from agent.machine import available_memory_bytes
from agent.trainer.adapters import gguf
from agent.trainer.adapters.merged_model import MEMORY_BESIDE_BYTES, merge, merged_size_bytes
from agent.trainer.adapters.vllm_layout import CONFIG_FILE, WEIGHTS_FILE
from agent.trainer.failures import is_disk_full
from agent.trainer.models.base_model import BaseModelLocation, locate
from shared import manifest
from shared.base_models import BUILT_MODELS
from shared.errors import BrightRunError, IntegrityError, InvalidBaseModel, InvalidInput
from shared.number_text import size

INTERRUPTED = 130
_FACTS_KEPT = ("job_id", "base_model", "base_model_revision", "chat_format")


def main(arguments: list[str]) -> int:
    """Export once; returns the exit code."""
    options = parse(arguments)
    disable_progress_bar()
    # What they will deprecate, and that a base model built here has no page on the hub.
    warnings.filterwarnings("ignore", module=r"(transformers|peft)\.")
    try:
        result = export(options)
    except BrightRunError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if not is_disk_full(error):
            raise
        print(f"{options.merged}: the disk is full; nothing half written stays.", file=sys.stderr)
        return InvalidInput.exit_code
    print(json.dumps(result))
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line's values; paths are absolute."""
    parser = argparse.ArgumentParser(prog="agent.trainer.adapters.export")
    path = _absolute
    parser.add_argument("adapter", type=path)
    parser.add_argument("--merged", type=path, required=True)
    parser.add_argument("--base", help="Else the base model that the manifest names.")
    parser.add_argument("--models", type=path, required=True, help="Models that are built here.")
    parser.add_argument("--gguf", type=path)
    parser.add_argument("--converter", type=path)
    return parser.parse_args(arguments)


def export(options: argparse.Namespace) -> dict[str, Any]:
    """Merge, unless that is done already, and convert; returns the facts of the result.

    Raises:
        IntegrityError: the adapter's files do not hold.
        InvalidInput: a place that is taken or too small, a base model or converter that is missing.
    """
    adapter = find_adapter(options.adapter)
    made_of = manifest.verify(adapter)
    converter = gguf.find_converter(options.converter) if options.gguf else []
    if options.gguf and options.gguf.exists():
        raise InvalidInput(f"{options.gguf}: is there already; choose another name.")
    wanted = {
        **{name: made_of.get(name) for name in _FACTS_KEPT},
        "adapter_manifest_sha256": manifest.manifest_sha256(adapter),
        "base": options.base or made_of["base_model"],
    }
    facts = exported_before(options.merged, wanted) or merge_into(options, adapter, wanted)
    result = {name: value for name, value in facts.items() if name != "files"}
    result["merged"] = str(options.merged)
    result["size_bytes"] = sum(file["size_bytes"] for file in facts["files"].values())
    if options.gguf:
        say(f"converting to {options.gguf}")
        result["gguf"] = str(options.gguf)
        result["gguf_size_bytes"] = gguf.convert(converter, options.merged, options.gguf)
    return result


def find_adapter(path: Path) -> Path:
    """The adapter's directory: the given one, or `adapter/` in it, as `fetch` leaves it.

    Raises:
        InvalidInput: there is none.
    """
    # With other weights in it, PEFT would look for a pickle.
    needed = (CONFIG_FILE, WEIGHTS_FILE, manifest.MANIFEST_NAME)
    for directory in (path, path / "adapter"):
        if all((directory / name).is_file() for name in needed):
            return directory
    raise InvalidInput(f"{path}: is no adapter that brightrun fetch brought home.")


def exported_before(directory: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a finished export of the same two; None where nothing is there.

    Raises:
        InvalidInput: something else is there.
    """
    if not directory.exists():
        return None
    try:
        facts = manifest.verify(directory)
    except (IntegrityError, OSError) as error:
        raise InvalidInput(f"{directory}: is there already, and is no export: {error}") from error
    if any(facts.get(name) != value for name, value in wanted.items()):
        raise InvalidInput(f"{directory}: is there already, and of another adapter or base model.")
    say(f"{directory} is there already, and every hash holds")
    return facts


def merge_into(
    options: argparse.Namespace, adapter: Path, wanted: dict[str, Any]
) -> dict[str, Any]:
    """Say what it takes, make sure of it, and merge."""
    location = find_base(options.base, wanted, options.models)
    size_bytes = merged_size_bytes(location)
    require_room(options.merged, size_bytes)
    require_memory(size_bytes)
    return merge(adapter, location, options.merged, wanted, say)


def find_base(given: str | None, wanted: dict[str, Any], models: Path) -> BaseModelLocation:
    """Where the base model is: what was given, else what the adapter names.

    Raises:
        InvalidBaseModel: a path that is not there any more.
    """
    name = given or wanted["base_model"]
    is_path = os.sep in name and (name.startswith((".", "~", os.sep)) or name.count(os.sep) > 1)
    if is_path and not Path(name).expanduser().is_dir():
        raise InvalidBaseModel(
            f"{name}: the base model is not there. Say where it is with --base: a directory, or a "
            "model id of the hub."
        )
    if is_path:
        return BaseModelLocation(str(Path(name).expanduser()), None)
    if name in BUILT_MODELS:
        return locate(name, None, models)
    return BaseModelLocation(name, wanted["base_model_revision"] if given is None else None)


def require_room(directory: Path, size_bytes: int) -> None:
    """Say how much disk it takes; raises InvalidInput where there is less."""
    parent = next(place for place in directory.parents if place.is_dir())
    free_bytes = shutil.disk_usage(parent).free
    say(f"the merged model takes {size(size_bytes)} on the disk; {size(free_bytes)} are free")
    if free_bytes < size_bytes:
        raise InvalidInput(
            f"{parent}: too little room for the merged model; choose another --merged."
        )


def require_memory(size_bytes: int) -> None:
    """Say how much main memory it takes; raises InvalidInput where there is less."""
    needed_bytes, available_bytes = size_bytes + MEMORY_BESIDE_BYTES, available_memory_bytes()
    say(f"merging takes {size(needed_bytes)} of memory; {size(available_bytes)} are available")
    if 0 < available_bytes < needed_bytes:
        raise InvalidInput("too little main memory to merge here; do it on a larger machine.")


def say(text: str) -> None:
    """What happens, for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
