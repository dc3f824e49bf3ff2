"""What lies in the cache, what of it holds, and what may go; without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agent.trainer.model_cache import copies
from agent.trainer.model_cache.__main__ import main
from agent.trainer.model_cache.fill import Ready
from agent.trainer.model_cache.ownership import owned
from shared.model_cache import CachedModel, CachePlace, Pruned, decode_cache_record

DAY_S = 86_400
WITHOUT_TORCH = """
import sys
from agent.trainer.model_cache.__main__ import main
code = main(sys.argv[1:])
assert not {"torch", "transformers", "bitsandbytes"} & set(sys.modules)
sys.exit(code)
"""


def begin(models: Path, base_model: str = "org/half") -> CachePlace:
    """A copy that was begun and broken off."""
    place = CachePlace(models, base_model, "a" * 40)
    place.source.mkdir(parents=True)
    (place.source / "model.safetensors.incomplete").write_bytes(bytes(1000))
    return place


def test_the_list_tells_complete_from_begun(filled: Ready) -> None:
    models = filled.place.models
    begin(models)
    half, whole = copies.list_copies(models)
    assert (half.base_model, half.is_complete, half.size_bytes) == ("org--half", False, 1000)
    assert half.trouble == "is not complete"
    assert (whole.base_model, whole.is_complete, whole.trouble) == ("tiny", True, "")
    assert whole.revision.startswith("local-")
    assert whole.last_used_at is not None
    assert whole.size_bytes == sum(p.stat().st_size for p in filled.place.copy.iterdir())
    assert copies.list_copies(models, "tiny") == [whole]


def test_a_copy_that_misses_a_file_is_not_complete(filled: Ready) -> None:
    next(filled.place.copy.glob("*.safetensors")).unlink()
    [entry] = copies.list_copies(filled.place.models)
    assert not entry.is_complete
    assert "is missing" in entry.trouble


def test_verify_names_what_is_damaged(filled: Ready, capsys) -> None:
    models = str(filled.place.models)
    assert main(["verify", "--models", models]) == 0
    file = next(filled.place.copy.glob("*.safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    capsys.readouterr()
    assert main(["verify", "--models", models, "--model", "tiny"]) == 2
    entry = decode_cache_record(capsys.readouterr().out)
    assert isinstance(entry, CachedModel)
    assert not entry.is_complete
    assert file.name in entry.trouble


def test_list_and_prune_load_no_torch(filled: Ready) -> None:
    models = filled.place.models
    listed = run("list", "--models", str(models))
    assert [type(record) for record in listed] == [CachedModel]
    pruned = run("prune", "--models", str(models), "--model", "tiny", "--dry-run")
    assert [record.is_removed for record in pruned if isinstance(record, Pruned)] == [False]
    assert filled.place.copy.is_dir()
    [gone] = run("prune", "--models", str(models), "--model", "tiny")
    assert isinstance(gone, Pruned)
    assert gone.freed_bytes > 5_000_000
    assert list(models.iterdir()) == []


def run(*arguments: str) -> list[object]:
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return [decode_cache_record(line) for line in finished.stdout.splitlines()]


def test_prune_can_take_only_what_is_old_or_not_complete(filled: Ready) -> None:
    models = filled.place.models
    half = begin(models)
    assert [item.model.base_model for item in copies.prune(models, only_incomplete=True)] == [
        "org--half"
    ]
    assert not half.folder.parent.exists()
    assert list(copies.prune(models, older_than_days=30)) == []
    used_at = filled.place.used.stat().st_mtime - 31 * DAY_S
    os.utime(filled.place.used, (used_at, used_at))
    assert len(list(copies.prune(models, older_than_days=30))) == 1
    assert not filled.place.folder.exists()


def test_what_is_being_filled_stays(tmp_path: Path) -> None:
    place = begin(tmp_path)
    with owned(place.owner, lambda: False, print):
        [entry] = copies.list_copies(tmp_path)
        assert entry.trouble == "is being filled now"
        assert list(copies.prune(tmp_path)) == []
    assert len(list(copies.prune(tmp_path))) == 1
