"""Whether what lies in the bucket is what was sent: its size, then the hash of all its bytes.

The bytes are streamed and forgotten, whatever their number; a cut goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from shared.errors import IntegrityError, SupabaseUnreachable
from shared.store.uploads import PlannedUpload
from tui.services.supabase.storage import Storage

_MOST_CUTS = 5
"""In a row without a new byte, before it is left for later."""

Progress = Callable[[int, int], None]
"""Called with the bytes read so far, and those in all."""


async def read_back(
    storage: Storage, upload: PlannedUpload, progress: Progress = lambda done, total: None
) -> None:
    """Return if the object has the size and the sha256 that were planned.

    Raises:
        IntegrityError: there is none, or it is another.
        SupabaseError: it cannot be read now.
    """
    facts = await storage.facts(upload.object_name)
    if facts is None:
        raise IntegrityError(f"{upload.object_name}: is not in the bucket.")
    if facts.size_bytes != upload.size_bytes:
        raise IntegrityError(
            f"{upload.object_name}: has {facts.size_bytes} bytes in the bucket, "
            f"{upload.size_bytes} were sent."
        )
    found = await _sha256(storage, upload, progress)
    if found != upload.sha256:
        raise IntegrityError(
            f"{upload.object_name}: its bytes in the bucket have the sha256 {found[:12]}, those "
            f"that were sent {upload.sha256[:12]}."
        )


async def _sha256(storage: Storage, upload: PlannedUpload, progress: Progress) -> str:
    digest, done, cuts = hashlib.sha256(), 0, 0
    while done < upload.size_bytes:
        before = done
        try:
            async with storage.download(upload.object_name, done) as (begin, chunks):
                if begin != done:  # A server without ranges: from the beginning again.
                    digest, done = hashlib.sha256(), begin
                async for chunk in chunks:
                    digest.update(chunk)
                    done += len(chunk)
                    progress(done, upload.size_bytes)
        except SupabaseUnreachable:
            cuts = cuts + 1 if done <= before else 0
            if cuts >= _MOST_CUTS:
                raise
            continue
        if done <= before:
            break  # It ends early, and says nothing of it: the hash will not hold.
    return digest.hexdigest()
