"""`python -P -m agent.trainer.model_cache list|fill|verify|prune --models DIR ...`

Prints JSON lines: see `shared.model_cache`. `list` and `prune` load no torch.

    list    [--model NAME]
    fill    --model NAME [--revision REV] [--source DIRECTORY]
    verify  [--model NAME] [--revision COMMIT]         hashes every file
    prune   [--model NAME] [--revision COMMIT] [--older-than DAYS] [--incomplete] [--dry-run]

Exit codes: 0 done; 1 it failed, and trying again may help; 2 refused: the model, the revision or
the token is wrong, or a copy did not verify.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pydantic import BaseModel

from agent.trainer.model_cache import copies
from shared.errors import BrightRunError, IntegrityError, InvalidBaseModel
from shared.model_cache import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    CachedModel,
    CacheFailed,
    CachePlace,
    Filled,
)


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return {"list": _list, "fill": _fill, "verify": _verify, "prune": _prune}[options.command](
            options
        )
    except BrightRunError as error:
        _print(CacheFailed(reason=type(error).__name__, message=str(error)))
        return EXIT_REFUSED if isinstance(error, InvalidBaseModel) else EXIT_FAILED
    except OSError as error:
        _print(CacheFailed(reason="OSError", message=str(error)))
        return EXIT_FAILED


def _list(options: argparse.Namespace) -> int:
    for entry in copies.list_copies(options.models, options.model):
        _print(entry)
    return EXIT_DONE


def _fill(options: argparse.Namespace) -> int:
    # Imported here: the other commands have no need of torch.
    from agent.trainer.model_cache.fill import ensure_copy
    from agent.trainer.model_cache.quantise import NotCacheable
    from agent.trainer.model_cache.trainers_copy import recipe, source_of

    if not options.model:
        raise InvalidBaseModel("fill: name the model with --model.")
    began = time.monotonic()
    directory = options.source or (Path(options.model) if Path(options.model).is_dir() else None)
    source = source_of(options.model, options.revision, directory)
    try:
        ready = ensure_copy(options.models, source, recipe(), _print)
    except NotCacheable as error:
        raise InvalidBaseModel(f"{error}: no quantised copy can be made of it.") from error
    _print(
        Filled(
            model=copies.describe(ready.place),
            was_there=ready.was_there,
            seconds=round(time.monotonic() - began, 3),
            downloaded_bytes=ready.downloaded_bytes,
        )
    )
    return EXIT_DONE


def _verify(options: argparse.Namespace) -> int:
    worst = EXIT_DONE
    for place in copies.places(options.models, options.model):
        if options.revision in (None, place.commit):
            entry = _verified(place)
            worst = worst if entry.is_complete else EXIT_REFUSED
            _print(entry)
    return worst


def _verified(place: CachePlace) -> CachedModel:
    entry = copies.describe(place)
    if not entry.is_complete:
        return entry
    try:
        bad = copies.damaged_files(place.copy, copies.read_manifest(place.copy)["files"])
    except IntegrityError as error:
        return entry.model_copy(update={"is_complete": False, "trouble": str(error)})
    trouble = f"damaged: {', '.join(bad)}; the next job or `fill` mends it" if bad else ""
    return entry.model_copy(update={"is_complete": not bad, "trouble": trouble})


def _prune(options: argparse.Namespace) -> int:
    for pruned in copies.prune(
        options.models,
        options.model,
        revision=options.revision,
        older_than_days=options.older_than,
        only_incomplete=options.incomplete,
        dry_run=options.dry_run,
    ):
        _print(pruned)
    return EXIT_DONE


def _print(record: BaseModel) -> None:
    print(record.model_dump_json(), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent.trainer.model_cache")
    parser.add_argument("command", choices=["list", "fill", "verify", "prune"])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--revision")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--older-than", type=float)
    parser.add_argument("--incomplete", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--json", action="store_true", help="always so; accepted for clarity")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
