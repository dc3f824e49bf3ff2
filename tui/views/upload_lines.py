"""How far a job's files are on their way to Supabase Storage, as text."""

from __future__ import annotations

from collections.abc import Sequence

from shared.clean_text import clean_line
from shared.number_text import duration, many, size
from shared.store.uploads import StoredUpload, UploadState

_STATE_WORDS = {
    UploadState.WAITING: "waits",
    UploadState.UPLOADING: "uploading",
    UploadState.UPLOADED: "there, not read back yet",
    UploadState.VERIFIED: "there, read back",
    UploadState.REFUSED: "refused",
    UploadState.REMOVED: "removed",
}
_THERE = (UploadState.UPLOADED, UploadState.VERIFIED)


def upload_lines(uploads: Sequence[StoredUpload]) -> list[str]:
    """A line on all of them, one on each that moves, and why what stands still does."""
    kept = [upload for upload in uploads if upload.state is not UploadState.REMOVED]
    if not kept:
        return []
    there = sum(upload.state in _THERE for upload in kept)
    checked = sum(upload.state is UploadState.VERIFIED for upload in kept)
    total = size(sum(upload.size_bytes for upload in kept))
    if checked == len(kept):
        return [f"Supabase: {many(there, 'file')}, {total}, all read back"]
    lines = [f"Supabase: {there} of {many(len(kept), 'file')} there, {checked} read back; {total}"]
    lines += [
        f"  {clean_line(upload.file_name)}: {moving}"
        for upload in kept
        if (moving := moving_text(upload))
    ]
    reasons = dict.fromkeys(clean_line(upload.error) for upload in kept if upload.error)
    return [*lines, *(f"  waits: {reason}" for reason in reasons)]


def moving_text(upload: StoredUpload) -> str:
    """Share, rate and time left; "" for one that is not under way."""
    if upload.state is not UploadState.UPLOADING:
        return ""
    share = f"{100 * upload.sent_bytes // max(upload.size_bytes, 1)} % of {size(upload.size_bytes)}"
    if not upload.bytes_per_s:
        return share
    left_s = (upload.size_bytes - upload.sent_bytes) / upload.bytes_per_s
    return f"{share} at {size(round(upload.bytes_per_s))}/s, {duration(left_s)} left"


def state_text(upload: StoredUpload) -> str:
    """Of one file."""
    return moving_text(upload) or _STATE_WORDS[upload.state]
