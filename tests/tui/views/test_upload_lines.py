"""What a person reads of a job's uploads."""

from __future__ import annotations

from typing import Any

from shared.store.uploads import ArtifactType, StoredUpload, UploadState
from tests.shared.store.journal import BEGIN
from tui.views.upload_lines import state_text, upload_lines


def upload(**values: Any) -> StoredUpload:
    usual: dict[str, Any] = {
        "object_name": "jobs/web/0/adapter_model.safetensors",
        "training_job_id": "job-one",
        "attempt": 1,
        "artifact_type": ArtifactType.LORA_ADAPTER,
        "file_name": "adapter_model.safetensors",
        "sha256": "a" * 64,
        "size_bytes": 400_000_000,
        "content_type": "application/octet-stream",
        "source": "/x",
        "target": "https://one.example#public",
        "state": UploadState.WAITING,
        "sent_bytes": 0,
        "bytes_per_s": None,
        "error": "",
        "updated_at": BEGIN,
    }
    return StoredUpload(**{**usual, **values})


def test_nothing_is_said_where_nothing_goes_up() -> None:
    assert upload_lines([]) == []
    assert upload_lines([upload(state=UploadState.REMOVED)]) == []


def test_a_file_on_its_way_has_its_share_rate_and_time_left() -> None:
    moving = upload(state=UploadState.UPLOADING, sent_bytes=100_000_000, bytes_per_s=10e6)
    done = upload(state=UploadState.VERIFIED, file_name="README.md", size_bytes=1000)
    assert upload_lines([moving, done]) == [
        "Supabase: 1 of 2 files there, 1 read back; 400.0 MB",
        "  adapter_model.safetensors: 25 % of 400.0 MB at 10.0 MB/s, 0:00:30 left",
    ]
    assert state_text(done) == "there, read back"


def test_all_there_is_one_line_and_a_reason_is_said_once_and_clean() -> None:
    assert upload_lines([upload(state=UploadState.VERIFIED)]) == [
        "Supabase: 1 file, 400.0 MB, all read back"
    ]
    waiting = [upload(error="no\x1b[31m way"), upload(error="no\x1b[31m way")]
    lines = upload_lines(waiting)
    assert lines[0].startswith("Supabase: 0 of 2 files there")
    assert len(lines) == 2
    assert "\x1b" not in lines[1]
