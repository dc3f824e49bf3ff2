"""What each file is called in the bucket, and what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import IntegrityError
from shared.manifest import file_sha256
from shared.store.uploads import ArtifactType
from tests.tui.services.artifact_uploads.adapters import make_adapter
from tui.services.artifact_uploads.gathering import plan_directory
from tui.services.artifact_uploads.object_names import (
    FoundFile,
    Owner,
    content_type,
    plan_file,
    plan_folder,
)

OWNER = Owner("job-one", "11111111-2222-5333-8444-555555555555", 2)


def test_an_adapter_is_one_folder_named_by_its_manifest(tmp_path: Path) -> None:
    own = make_adapter(tmp_path / "adapter")
    planned = plan_directory(OWNER, ArtifactType.LORA_ADAPTER, tmp_path / "adapter", own)

    folder = f"jobs/{OWNER.web_id}/{own[:16]}"
    assert {upload.object_name for upload in planned} == {
        f"{folder}/{name}"
        for name in (
            "adapter_model.safetensors",
            "adapter_config.json",
            "tokenizer.json",
            "README.md",
            "manifest.json",
        )
    }
    assert [u.file_name for u in planned if u.artifact_type is not ArtifactType.FILE] == [
        "adapter_model.safetensors"
    ]
    for upload in planned:
        assert upload.local_path is not None
        assert upload.sha256 == file_sha256(upload.local_path)
        assert upload.size_bytes == upload.local_path.stat().st_size


def test_another_content_has_another_name(tmp_path: Path) -> None:
    names = set()
    for number, weights in enumerate((b"one", b"two")):
        make_adapter(tmp_path / str(number), weights)
        planned = plan_directory(OWNER, ArtifactType.LORA_ADAPTER, tmp_path / str(number))
        names |= {upload.object_name for upload in planned}
    assert len(names) == 10


def test_an_adapter_that_is_not_the_verified_one_is_not_planned(tmp_path: Path) -> None:
    make_adapter(tmp_path / "adapter")
    with pytest.raises(IntegrityError, match="the job's journal recorded eeee"):
        plan_directory(OWNER, ArtifactType.LORA_ADAPTER, tmp_path / "adapter", "e" * 64)


def test_a_file_that_has_another_size_than_the_manifest_says_is_not_planned(
    tmp_path: Path,
) -> None:
    make_adapter(tmp_path / "adapter")
    (tmp_path / "adapter" / "tokenizer.json").write_text("longer")
    with pytest.raises(IntegrityError, match="not as the manifest says"):
        plan_directory(OWNER, ArtifactType.LORA_ADAPTER, tmp_path / "adapter")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "x" * 200, ".hidden", "a\n"])
def test_a_name_that_no_file_of_ours_has_does_not_go_up(name: str) -> None:
    with pytest.raises(IntegrityError, match="no name of a file of ours"):
        plan_file(OWNER, FoundFile(name, "a" * 64, 1, "/x"))


@pytest.mark.parametrize(
    ("kind", "main"),
    [
        (ArtifactType.LORA_ADAPTER, "adapter_model.safetensors"),
        (ArtifactType.CHECKPOINT, "parameters.safetensors"),
        (ArtifactType.MERGED_MODEL, "model.safetensors"),
    ],
)
def test_one_file_stands_for_a_whole_directory(kind: ArtifactType, main: str) -> None:
    files = [FoundFile(name, "a" * 64, 1, "/x") for name in (main, "zzz.json", "config.json")]
    planned = plan_folder(OWNER, kind, "b" * 64, files)
    assert [(u.file_name, u.artifact_type) for u in planned][-1] == (main, kind)
    with pytest.raises(IntegrityError, match="without any of"):
        plan_folder(OWNER, kind, "b" * 64, files[1:])


def test_of_a_model_in_parts_the_index_stands_for_it() -> None:
    names = ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json")
    files = [FoundFile(name, "a" * 64, 1, "/x") for name in names]
    planned = plan_folder(OWNER, ArtifactType.MERGED_MODEL, "b" * 64, files)
    [main] = [upload for upload in planned if upload.artifact_type is ArtifactType.MERGED_MODEL]
    assert main.file_name == "model.safetensors.index.json"


def test_a_content_type_follows_the_suffix() -> None:
    assert content_type("metrics.csv") == "text/csv"
    assert content_type("adapter_model.safetensors") == "application/octet-stream"
