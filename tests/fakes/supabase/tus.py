"""The real TUS server on loopback, with the faults that a test scripts for it.

The server keeps its port and its uploads over a `kill` and a `start`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
PACKAGES = _HERE / "node_modules"
NO_PACKAGES = "needs the npm packages: npm ci --ignore-scripts in tests/fakes/supabase"
NO_NODE = "needs Node.js 20: apt-get install nodejs npm"


def why_not() -> str:
    """What is missing for it; "" where it can start."""
    node = shutil.which("node")
    if node is None:
        return NO_NODE
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if int("0" + version.strip().lstrip("v").partition(".")[0]) < 20:
        return NO_NODE
    return "" if (PACKAGES / "@tus" / "server").is_dir() else NO_PACKAGES


class TusServer:
    """One server in front of one storage double."""

    def __init__(self, storage_url: str, jwt_secret: str, directory: Path) -> None:
        self._storage_url = storage_url
        self._environment = {**os.environ, "TUS_JWT_SECRET": jwt_secret}
        self._uploads = directory / "uploads"
        self._faults = directory / "faults.json"
        self._log = directory / "log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_alive(self) -> bool:
        """False also once a fault has made it die."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when it listens; about 0.3 s."""
        self._uploads.mkdir(parents=True, exist_ok=True)
        command = ["node", str(_HERE / "tus_server.mjs"), "--directory", str(self._uploads)]
        command += ["--storage", self._storage_url, "--faults", str(self._faults)]
        command += ["--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], 20)
        line = out.readline() if ready else b""
        assert line.strip().isdigit(), f"the TUS server does not start: {self._log.read_text()}"
        self._port = int(line)

    def kill(self) -> None:
        """At once; uploads stay."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=10)
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None

    def stop(self) -> None:
        """The same: there is no gentler way that a test needs."""
        self.kill()

    def wait_until_dead(self, timeout_s: float = 30) -> None:
        """Until a scripted death has come."""
        assert self._process is not None
        self._process.wait(timeout=timeout_s)
        self.kill()

    def fault(self, **faults: Any) -> None:
        """Script these and no others; see the head of tus_server.mjs. None: no faults."""
        partial = self._faults.with_suffix(".new")
        partial.write_text(json.dumps(faults))
        os.replace(partial, self._faults)

    def expire_tokens(self) -> None:
        """Upload tokens made before the next second hold no longer: `iat` counts whole ones."""
        self.fault(expire_tokens_before=int(time.time()) + 1)

    def forget_uploads(self, *, gone: bool = True) -> None:
        """Every upload URL has expired: 410, or 404 where nothing is known of it any more."""
        for path in [p for p in self._uploads.rglob("*") if p.is_file()]:
            if not gone or path.suffix != ".json":
                path.unlink()

    def clear(self) -> None:
        """No faults, no uploads."""
        self._faults.unlink(missing_ok=True)
        self.forget_uploads(gone=False)

    def offsets(self) -> dict[str, int]:
        """Bytes received of each upload, by bucket/object."""
        found = (p for p in self._uploads.rglob("*") if p.is_file() and p.suffix != ".json")
        return {str(p.relative_to(self._uploads).parent): p.stat().st_size for p in found}
