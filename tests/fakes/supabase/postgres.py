"""A PostgreSQL cluster of our own on loopback, and a blocking way to ask it.

Knows nothing of Supabase. The cluster runs as an unprivileged user where the tests run as root,
keeps nothing on disk for sure (fsync off), and is no relation of the machine's own cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.remote.sshd import free_port

SUPERUSER = "supabase_admin"
_T = TypeVar("_T")


def program(name: str) -> str | None:
    """Debian keeps the server's programs off the PATH."""
    places = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))


NO_POSTGRES = "needs PostgreSQL: apt-get install postgresql"


class Postgres:
    """One cluster; `start` makes it, `stop` and `start` again keep what is in it."""

    def __init__(self) -> None:
        # Not pytest's own directory: its parents are closed to other users.
        self.directory = Path(tempfile.mkdtemp(prefix="brightrun-postgres-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            owner = _unprivileged()
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def url(self, user: str, password: str, database: str = "postgres") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns when it answers; ready within 2 s on a free machine."""
        data = self.directory / "data"
        if not data.exists():
            self._make(data)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(program("postgres")), "-D", str(data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                **self._as,
            )
        deadline = time.monotonic() + 30
        while "ready to accept connections" not in self.log.rpartition("starting PostgreSQL")[2]:
            assert self._process.poll() is None, f"PostgreSQL ended: {self.log}"
            assert time.monotonic() < deadline, f"PostgreSQL does not start: {self.log}"
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, as in a crash; the next start recovers."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(timeout=20)
        self._process = None

    def remove(self) -> None:
        """Stop, and delete the cluster."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _make(self, data: Path) -> None:
        password = self.directory / "password"
        password.write_text(SUPERUSER)
        command = [str(program("initdb")), "--no-sync", "-D", str(data), "-U", SUPERUSER]
        command += [
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        made = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, **self._as
        )
        assert made.returncode == 0, made.stderr
        lines = {
            "listen_addresses": "'127.0.0.1'",
            "port": self.port,
            "unix_socket_directories": "''",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "'16MB'",
            "max_connections": 60,
            "autovacuum": "off",
            "log_timezone": "'UTC'",
            "timezone": "'UTC'",
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in lines.items())


def _unprivileged() -> pwd.struct_passwd:
    """PostgreSQL refuses to run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("no unprivileged user to run PostgreSQL as")


class Database:
    """SQL from tests and servers in threads: every call waits for its answer.

    Safe from any thread, inside and outside of a running loop.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="database", daemon=True)
        self._thread.start()
        self._pool: Any = None

    def execute(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """The rows; several statements only without arguments, and then there are no rows."""
        return self._wait(self._execute(None, sql, arguments))

    def execute_as(self, claims: dict[str, Any], sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """The same as whoever a token with these claims names, under row level security.

        Raises:
            asyncpg.PostgresError: such as InsufficientPrivilegeError.
        """
        return self._wait(self._execute(claims, sql, arguments))

    def forget_connections(self) -> None:
        """After a restart of the server."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    def close(self) -> None:
        if self._pool is not None:
            self._wait(self._pool.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _execute(
        self, claims: dict[str, Any] | None, sql: str, arguments: tuple[Any, ...]
    ) -> list[dict[str, Any]]:
        import asyncpg

        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                self.url, min_size=0, max_size=8, statement_cache_size=0
            )
        async with self._pool.acquire() as connection, connection.transaction():
            if claims is not None:
                role = str(claims.get("role", "anon"))
                await connection.execute("select set_config('role', $1, true)", role)
                await connection.execute(
                    "select set_config('request.jwt.claims', $1, true)", json.dumps(claims)
                )
            if not arguments and ";" in sql.strip().rstrip(";"):
                await connection.execute(sql)
                return []
            return [dict(row) for row in await connection.fetch(sql, *arguments)]
