"""A job's adapter and checkpoints on a network volume where no agent runs, read over SSH.

Of an adapter the same files in the same order as an agent would serve; whoever fetches them checks
every hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path, PurePosixPath

from shared.agent_protocol import ArtifactFile, ArtifactList
from shared.clean_text import clean_line
from shared.errors import IntegrityError, ProtocolError
from shared.manifest import MANIFEST_NAME, file_sha256, verify
from tui.services.hosts.host import Step
from tui.services.hosts.ssh import SshHost
from tui.services.ssh.remote_shell import SshShell

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


async def bring_newest_checkpoint(
    shell: SshShell, root: str, job_id: str, home: Path, on_step: Step
) -> Path | None:
    """The job's newest committed checkpoint, verified, below `home`; None where it has none.

    It lies as on the volume: `attempts/N/checkpoints/step-S`.

    Raises:
        IntegrityError: its hashes do not hold.
        AgentUnreachable: the connection was lost; calling again goes on from there.
    """
    job = f"{root}/jobs/{job_id}"
    pattern = f"attempts/*/checkpoints/step-*/{MANIFEST_NAME}"
    found = await shell.run(f"cd {shlex.quote(job)} 2>/dev/null && ls -d {pattern} 2>/dev/null")
    places = [PurePosixPath(line).parent for line in found.stdout.splitlines()]
    if not places:
        return None
    newest = max(places, key=lambda place: (int(place.parts[1]), place.name))
    manifest = (await shell.run(f"cat {shlex.quote(f'{job}/{newest}/{MANIFEST_NAME}')}")).stdout
    target = home / newest
    await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)
    for name, facts in json.loads(manifest)["files"].items():
        if "/" in name or name in ("", ".", ".."):
            raise IntegrityError(f"{newest}: its manifest names a file {clean_line(name)!r}.")
        on_step(f"bringing {newest.name} here: {clean_line(name)}")
        await _bring(shell, f"{job}/{newest}/{name}", target / name, facts["sha256"])
    (target / MANIFEST_NAME).write_text(manifest, encoding="utf-8")
    await asyncio.to_thread(verify, target)
    return target


async def _bring(shell: SshShell, source: str, target: Path, sha256: str) -> None:
    if target.is_file() and await asyncio.to_thread(file_sha256, target) == sha256:
        return
    with target.open("wb") as file:
        async with aclosing(shell.read(source)) as chunks:
            async for chunk in chunks:
                file.write(chunk)


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
