"""A Supabase project on loopback: real PostgreSQL and PostgREST, the rest as small as it can be.

rig.url                      what SUPABASE_URL is set to
rig.settings()               with the service key; rig.settings(rig.user_one) with a login
await rig.log_in(path, user) keeps that user's tokens at `path`, as `brightrun supabase login`
rig.faults.add(path=r"/rest/v1/training_jobs", status=503, times=2)   see tests/fakes/runpod/faults
rig.stop("gateway"), rig.start("gateway")    also "postgrest", "postgres", "storage", "tus"
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.fakes.runpod.faults import Faults
from tests.fakes.supabase import postgres as postgres_module
from tests.fakes.supabase import postgrest as postgrest_module
from tests.fakes.supabase import project_sql
from tests.fakes.supabase.auth import PASSWORD, AuthStub
from tests.fakes.supabase.gateway import Gateway, Request
from tests.fakes.supabase.postgres import SUPERUSER, Database, Postgres
from tests.fakes.supabase.postgrest import Postgrest
from tests.fakes.supabase.storage_double import StorageDouble
from tests.fakes.supabase.tus import TusServer
from tests.fakes.supabase.tus import why_not as why_no_tus
from tui.services.supabase.login import log_in
from tui.services.supabase.migration import migration_sql
from tui.services.supabase.settings import SupabaseSettings

SCHEMAS = "public, brightrun"
"""Those that PostgREST serves; the second is not there at first."""
_YEARS_S = 10 * 365 * 86400.0


def missing() -> str | None:
    """Why the rig cannot stand here; None if it can."""
    if postgres_module.program("initdb") is None:
        return postgres_module.NO_POSTGRES
    if postgrest_module.program() is None:
        return postgrest_module.NO_PACKAGES
    return why_no_tus() or None


class Part(Protocol):
    """A server of the rig."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class SupabaseRig:
    """The project with two users; `start` first, `remove` last."""

    def __init__(self) -> None:
        self.jwt_secret = secrets.token_hex(32)
        self.auth = AuthStub(self.jwt_secret)
        self.user_one = self.auth.add_user("one@example.com")
        self.user_two = self.auth.add_user("two@example.com")
        self.password = PASSWORD
        self.anon_key = self.auth.mint("anon", _YEARS_S, ref="stand-in")
        self.service_key = self.auth.mint("service_role", _YEARS_S, ref="stand-in")
        self.publishable_key = f"sb_publishable_{secrets.token_hex(12)}"
        self.secret_key = f"sb_secret_{secrets.token_hex(12)}"
        self.postgres = Postgres()
        self.database_url = self.postgres.url(SUPERUSER, SUPERUSER)
        """As the superuser."""
        self.migration_url = self.postgres.url("postgres", "postgres")
        """As the owner of the project's schema, who is no superuser."""
        self.postgrest = Postgrest(
            self.postgres.url("authenticator", "authenticator"), SCHEMAS, self.jwt_secret
        )
        self.database = Database(self.database_url)
        self.gateway = Gateway(
            self.auth, {}, lambda role: self.auth.mint(role, 60), lambda: self.postgrest.url
        )
        self._allow_all_keys()
        self._files = Path(tempfile.mkdtemp(prefix="brightrun-storage-"))
        self.storage = StorageDouble(self.database, self.jwt_secret, self._files / "objects")
        self.tus: TusServer
        self._parts: dict[str, Part] = {}
        self._stopped: list[str] = []
        self._mark = ""

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def faults(self) -> Faults:
        return self.gateway.faults

    @property
    def requests(self) -> list[Request]:
        return self.gateway.requests

    def plug(self, name: str, part: Part) -> None:
        """One more server, started here: "storage" or "tus"; its `url` is where requests go."""
        part.start()
        self._parts[name] = part
        if name == "storage":
            self.gateway.storage_url = part.url  # type: ignore[attr-defined]
        if name == "tus":
            self.gateway.tus_url = part.url  # type: ignore[attr-defined]

    def start_all(self) -> None:
        """About 2 s: the cluster, the stub of a project, our migration, PostgREST, the gateway."""
        self.postgres.start()
        self.database.execute(project_sql.STUB)
        self.database.execute(project_sql.PUBLIC_SCHEMA)
        for email, user_id in self.auth.users.items():
            self.database.execute(
                "insert into auth.users (id, email) values ($1, $2)", user_id, email
            )
        self.migrate()
        self.postgrest.start()
        self.gateway.start()
        self.plug("storage", self.storage)
        self.tus = TusServer(self.storage.url, self.jwt_secret, self._files / "tus")
        self.plug("tus", self.tus)
        self._mark = self._fingerprint()

    def remove(self) -> None:
        """Stop everything and delete what it kept."""
        self.gateway.stop()
        for part in reversed(list(self._parts.values())):
            part.stop()
        shutil.rmtree(self._files, ignore_errors=True)
        self.postgrest.remove()
        self.database.close()
        self.postgres.remove()

    def stop(self, name: str) -> None:
        """Take one server away, as in a crash."""
        self._part(name).stop()
        self._stopped.append(name)

    def start(self, name: str) -> None:
        """Bring it back, with what it had kept, on the same port."""
        self._part(name).start()
        self._stopped.remove(name)
        if name == "postgres":
            self.database.forget_connections()
            if "postgrest" not in self._stopped:
                # It would come back by itself, after pauses that double.
                self.postgrest.stop()
                self.postgrest.start()

    def fresh(self) -> None:
        """Empty tables of the right shape, no faults, every server running, all keys valid."""
        # The database first: the others wait for it.
        for name in sorted(self._stopped, key=lambda name: name != "postgres"):
            self.start(name)
        self.faults.clear()
        self.requests.clear()
        self.gateway.date_offset_s = 0.0
        self._allow_all_keys()
        self.database.execute("delete from storage.objects")
        self.storage.clear()
        self.tus.clear()
        if not self.tus.is_alive:
            self.tus.start()
        if self._fingerprint() == self._mark:
            self.database.execute(project_sql.EMPTY)
            return
        self.bare()
        self.migrate()
        self.reload_schema()

    def bare(self) -> None:
        """The project before any migration of ours; `fresh` brings the tables back."""
        self.database.execute("delete from storage.objects")
        self.database.execute(project_sql.BARE)
        self.database.execute(project_sql.PUBLIC_SCHEMA)

    def migrate(self) -> None:
        """Apply our migration as the owner of the project's schema."""
        owner = Database(self.migration_url)
        try:
            owner.execute(migration_sql("public"))
        finally:
            owner.close()

    def reload_schema(self) -> None:
        """Returns when PostgREST knows the tables as they are now."""
        # One load reads the tables first and the functions later: the first that knows a function
        # may have read the tables before. The next one has begun after it.
        for _ in range(2):
            self._await_load()

    def _await_load(self) -> None:
        # Which of its loads answers which notice is not told, so it is asked for a new name.
        name = f"rig_{secrets.token_hex(8)}"
        self.database.execute(
            f"create function public.{name}() returns int language sql as 'select 1'"
        )
        deadline, asked_at = time.monotonic() + 30, 0.0
        while not self.postgrest.knows(name, self.service_key):
            assert time.monotonic() < deadline, f"PostgREST does not load: {self.postgrest.log}"
            if time.monotonic() - asked_at > 1:  # It may not have listened yet.
                self.database.execute("notify pgrst, 'reload schema'")
                asked_at = time.monotonic()
            time.sleep(0.01)
        self.database.execute(f"drop function public.{name}()")

    def execute(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """The rows of a statement as the superuser, whom no policy holds back."""
        return self.database.execute(sql, *arguments)

    def execute_as(self, user_id: str | None, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """The same as that user; None: as nobody."""
        claims = {"role": "authenticated", "sub": user_id} if user_id else {"role": "anon"}
        return self.database.execute_as(claims, sql, *arguments)

    def token_for(self, user_id: str, expires_in_s: float = 3600) -> str:
        """An access token of that user; a negative time makes one that has expired."""
        return self.auth.token_for(user_id, expires_in_s)

    def email_of(self, user_id: str) -> str:
        return next(email for email, known in self.auth.users.items() if known == user_id)

    def settings(
        self, user_id: str | None = None, *, created_by: str | None = None, schema: str = "public"
    ) -> SupabaseSettings:
        """With a user's id: the publishable key, for use with a login. Without: the service key."""
        key = self.anon_key if user_id else self.service_key
        return SupabaseSettings(self.url, key, user_id is None, schema, created_by)

    def environment(self, user_id: str | None = None) -> dict[str, str]:
        """The variables that make `load_settings` return the same."""
        if user_id:
            return {"SUPABASE_URL": self.url, "SUPABASE_PUBLISHABLE_KEY": self.anon_key}
        return {"SUPABASE_URL": self.url, "SUPABASE_SECRET_KEY": self.service_key}

    async def log_in(self, path: Path, user_id: str) -> None:
        """Keep that user's tokens at `path`, as the command does."""
        async with httpx.AsyncClient() as http:
            await log_in(http, self.settings(user_id), path, self.email_of(user_id), PASSWORD)

    def revoke(self, key: str) -> None:
        """The gateway does not know this key any more, until the next test."""
        self.gateway.keys.pop(key, None)

    def _allow_all_keys(self) -> None:
        self.gateway.keys.update(
            {
                self.anon_key: "anon",
                self.publishable_key: "anon",
                self.service_key: "service_role",
                self.secret_key: "service_role",
            }
        )

    def _part(self, name: str) -> Part:
        own: dict[str, Part] = {
            "gateway": self.gateway,
            "postgrest": self.postgrest,
            "postgres": self.postgres,
        }
        return {**own, **self._parts}[name]

    def _fingerprint(self) -> str:
        return str(self.database.execute(project_sql.FINGERPRINT)[0]["mark"])
