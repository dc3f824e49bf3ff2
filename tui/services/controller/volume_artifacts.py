"""A job's adapter on a network volume, where no agent runs: found and read over SSH.

The same files in the same order as an agent would serve; whoever fetches them checks every hash.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.agent_protocol import ArtifactFile, ArtifactList
from shared.errors import IntegrityError, ProtocolError
from shared.manifest import MANIFEST_NAME
from tui.services.hosts.ssh import SshHost

_FOLDER = "adapter"


class VolumeArtifacts:
    """An `ArtifactSource` for the jobs under one agent root."""

    def __init__(self, host: SshHost, root: str) -> None:
        self._shell = host.shell
        self._root = root
        self._attempt = ""

    async def artifacts(self, job_id: str) -> ArtifactList:
        """The committed adapter of the latest attempt that has one.

        Raises:
            IntegrityError: there is none on the volume.
        """
        attempts = f"{self._root}/jobs/{job_id}/attempts"
        done = await self._shell.run(
            f"cd {shlex.quote(attempts)} 2>/dev/null || exit 3\n"
            "for n in $(ls | grep -E '^[0-9]+$' | sort -rn); do\n"
            f'  if [ -f "$n/{_FOLDER}/{MANIFEST_NAME}" ]; then\n'
            f'    echo "$n"; cat "$n/{_FOLDER}/{MANIFEST_NAME}"; exit 0\n'
            "  fi\ndone\nexit 3"
        )
        if done.exit_status != 0:
            raise IntegrityError(f"the volume has no adapter of {job_id}.")
        number, _, manifest = done.stdout.partition("\n")
        self._attempt = f"{attempts}/{int(number)}"
        return _list_of(int(number), manifest)

    @asynccontextmanager
    async def download(
        self, job_id: str, path: str, offset: int
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """The bytes of a listed file from `offset`."""
        chunks = self._shell.read(f"{self._attempt}/{path}", offset)
        try:
            yield offset, chunks
        finally:
            await chunks.aclose()


def _list_of(attempt: int, manifest: str) -> ArtifactList:
    try:
        described = json.loads(manifest)["files"]
        files = [
            ArtifactFile(path=f"{_FOLDER}/{name}", **facts)
            for name, facts in sorted(described.items())
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"the manifest on the volume makes no sense ({error}).") from error
    content = manifest.encode()
    own = ArtifactFile(
        path=f"{_FOLDER}/{MANIFEST_NAME}",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return ArtifactList(attempt=attempt, files=(*files, own))
