"""A `RemoteShell` on this machine: `sh -s` in another home, with an environment of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import RemoteScriptFailed
from tui.services.ssh.shell import Finished


@dataclass
class LocalShell:
    """A machine as bare as its PATH makes it; records what was put there."""

    home: Path
    path: str = "/usr/bin:/bin"
    noise: str = ""
    """What its login scripts print."""
    puts: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": self.path}

    async def run(self, script: str, *, timeout_s: float = 30.0) -> Finished:
        process = await self._start(script, stderr=asyncio.subprocess.PIPE)
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate(script.encode())
        assert process.returncode is not None
        return Finished(
            process.returncode,
            self.noise + stdout.decode(errors="replace"),
            stderr.decode(errors="replace"),
        )

    async def lines(self, script: str, *, timeout_s: float = 1800.0) -> AsyncGenerator[str, None]:
        process = await self._start(script, stderr=asyncio.subprocess.STDOUT)
        assert process.stdin is not None and process.stdout is not None
        try:
            for line in self.noise.splitlines():
                yield line
            process.stdin.write(script.encode())
            process.stdin.close()
            async with asyncio.timeout(timeout_s):
                async for line in process.stdout:
                    yield line.decode(errors="replace").rstrip("\r\n")
                if status := await process.wait():
                    raise RemoteScriptFailed(status, "")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def put(self, content: bytes | Path, path: str) -> None:
        target = self.home / path
        self.puts.append(path)
        if isinstance(content, Path):
            content = content.read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = target.with_name(f"{target.name}.{os.urandom(4).hex()}.part")
        part.touch(mode=0o600)
        part.write_bytes(content)
        part.replace(target)

    async def _start(self, script: str, *, stderr: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-s",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=self.environment(),
            cwd=self.home,
            start_new_session=True,
            limit=2**20,
        )
