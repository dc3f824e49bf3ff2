"""An adapter in the bucket as a source to fetch from: listed by its own manifest.

The files come home as from an agent, with resume and every hash checked, by
`tui.services.artifacts`. An object's name carries its content, so a part that lies here fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import PurePosixPath

from shared.agent_protocol import ArtifactFile, ArtifactList
from shared.errors import InvalidInput, ProtocolError
from shared.manifest import MANIFEST_NAME
from tui.services.supabase.storage import Storage

_FOLDER = "adapter"
_LARGEST_MANIFEST_BYTES = 2**20


class StoredAdapter:
    """An `ArtifactSource` for one folder of the bucket."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder

    async def artifacts(self, job_id: str) -> ArtifactList:
        """The files that the manifest in the folder names, and the manifest.

        Raises:
            SupabaseRefused: there is none.
            ProtocolError: it is no manifest.
        """
        content = await self._manifest()
        try:
            files = [
                ArtifactFile(path=f"{_FOLDER}/{name}", **facts)
                for name, facts in sorted(json.loads(content)["files"].items())
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProtocolError(
                f"the manifest of {job_id} in the bucket makes no sense ({error})."
            ) from error
        own = ArtifactFile(
            path=f"{_FOLDER}/{MANIFEST_NAME}",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        return ArtifactList(attempt=1, files=(*files, own))

    def download(
        self, job_id: str, path: str, offset: int
    ) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        """The bytes of a listed file from `offset`."""
        return self._storage.download(f"{self._folder}/{PurePosixPath(path).name}", offset)

    async def _manifest(self) -> bytes:
        content = b""
        async with self._storage.download(f"{self._folder}/{MANIFEST_NAME}") as (_, chunks):
            async for chunk in chunks:
                content += chunk
                if len(content) > _LARGEST_MANIFEST_BYTES:
                    raise ProtocolError(f"{self._folder}/{MANIFEST_NAME} is too large to be one.")
        return content


async def adapter_folder(storage: Storage, web_id: str) -> str:
    """The folder of a job of which this console knows no upload, such as another console's.

    Raises:
        InvalidInput: the bucket has no adapter of it, or several.
    """
    found = [
        folder
        for folder in await storage.folders(f"jobs/{web_id}")
        if "adapter_model.safetensors"
        in {PurePosixPath(each.name).name for each in await storage.objects(folder)}
    ]
    if len(found) != 1:
        raise InvalidInput(
            f"the bucket has {len(found) or 'no'} adapter{'s' if found else ''} of job {web_id} "
            "that you may see."
        )
    return found[0]
