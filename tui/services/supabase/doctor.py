"""Checks of the connection to Supabase, in the order in which a mirrored job needs the things.

Changes nothing there. Keys, tokens and passwords are in no finding.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import httpx

from shared.events import utc_now
from shared.number_text import size
from shared.store.store import open_store
from tui.config import Config
from tui.services.doctor.checks import Check, Finding, Outcome, failure, ok, run_checks, warning
from tui.services.supabase.answers import http_date
from tui.services.supabase.connection import Supabase, connected, require_client
from tui.services.supabase.lag import lag_of
from tui.services.supabase.login import read_login
from tui.services.supabase.migration import SCHEMA_VERSION
from tui.services.supabase.schema_check import (
    SchemaFacts,
    read_bucket,
    read_schema,
    seen_by_anon,
)
from tui.services.supabase.settings import BUCKET, SupabaseSettings, load_settings
from tui.services.supabase.storage import Storage
from tui.services.supabase.wording import settings_words

PART = "supabase"
MOST_CLOCK_DIFFERENCE_S = 30.0
"""Tokens are judged by the server's clock; only shown times are off."""
ADAPTER_70B_BYTES = 414_187_520
"""r = 16 over all 7 modules of Llama 3 70B in bf16: 207,093,760 parameters."""
_TIMEOUT_S = 10.0


@dataclass
class Project:
    """What was found out so far."""

    config: Config
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    now_s: Callable[[], float] = time.time
    settings: SupabaseSettings | None = None
    supabase: Supabase | None = None
    facts: SchemaFacts | None = None
    server_ahead_s: float | None = None
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def known(self) -> SupabaseSettings:
        assert self.settings is not None, "checked before"
        return self.settings

    @property
    def asked(self) -> Supabase:
        assert self.supabase is not None, "checked before"
        return self.supabase

    async def connect(self) -> None:
        """Raises SupabaseError, as `connected`."""
        opening = connected(self.known, self.config.supabase_session_path)
        self.supabase = await self._open.enter_async_context(opening)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._open.aclose()


async def examine_supabase(project: Project) -> AsyncGenerator[Finding]:
    """One finding after the other."""
    try:
        async with aclosing(run_checks(PART, SUPABASE_CHECKS, project)) as findings:
            async for finding in findings:
                yield finding
    finally:
        await project.close()


async def look_at_settings(project: Project) -> Outcome:
    """Which project, and with what kind of key."""
    project.settings = load_settings(project.environ)
    if project.settings is None:
        return failure(
            "not set up",
            "Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY (project settings, API keys), then "
            "`brightrun supabase login`; on a trusted server SUPABASE_SECRET_KEY instead.",
        )
    return ok(settings_words(project.settings))


async def look_at_package(_: Project) -> Outcome:
    """The official client, which is an extra."""
    from importlib.metadata import version

    require_client()
    return ok(f"supabase {version('supabase')}")


async def look_at_address(project: Project) -> Outcome:
    """Whether the project answers and knows the key; and what its clock says."""
    settings = project.known
    try:
        async with httpx.AsyncClient(http2=False, timeout=_TIMEOUT_S) as http:
            asked_at = project.now_s()
            answer = await http.get(
                f"{settings.url}/auth/v1/health", headers={"apikey": settings.key}
            )
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        return failure(
            f"no answer: {why}",
            "See that SUPABASE_URL is right; a free project that is paused is woken on its page.",
        )
    moment = http_date(answer.headers.get("date", ""))
    if moment is not None:
        project.server_ahead_s = _apart(moment.timestamp(), asked_at, project.now_s())
    if answer.status_code in (401, 403):
        return failure(
            "the key is not accepted: revoked, or of another project",
            "Copy it anew from the project's settings, API keys.",
        )
    if answer.status_code != 200:
        return failure(f"HTTP {answer.status_code}", "Try again; see status.supabase.com.")
    return ok("the project answers and knows the key")


def _apart(server_s: float, asked_at: float, answered_at: float) -> float:
    """How far ahead the server's clock is; a Date header has whole seconds."""
    if server_s > answered_at:
        return server_s - answered_at
    return min(server_s + 1 - asked_at, 0.0)


async def look_at_clock(project: Project) -> Outcome:
    """This machine's clock beside the server's."""
    ahead_s = project.server_ahead_s
    if ahead_s is None:
        return ok("the server does not say its time")
    if abs(ahead_s) <= MOST_CLOCK_DIFFERENCE_S:
        return ok("agrees with the server's")
    behind = "behind" if ahead_s > 0 else "ahead of"
    return warning(
        f"this machine is {abs(ahead_s):.0f} s {behind} the server",
        "Nothing breaks, but times look wrong: timedatectl set-ntp 1.",
    )


async def look_at_right(project: Project) -> Outcome:
    """Whose rows are written: a login, or a secret key."""
    settings = project.known
    await project.connect()
    if not settings.is_service:
        login = read_login(project.config.supabase_session_path, settings)
        return ok(f"logged in as {login.email or login.user_id}")
    if settings.created_by is None:
        return warning(
            "the secret key passes every rule, and rows belong to nobody",
            "Users see no such row: set BRIGHTRUN_SUPABASE_USER to the id of the user they "
            "shall belong to.",
        )
    return ok(f"the secret key passes every rule; rows belong to {settings.created_by}")


async def look_at_schema(project: Project) -> Outcome:
    """Whether our tables are there, in the version that is written."""
    project.facts = await read_schema(project.asked)
    version = project.facts.version
    if version > SCHEMA_VERSION:
        return warning(f"version {version}, which is newer", "Upgrade brightrun.")
    if version < SCHEMA_VERSION:
        return failure(f"version {version}", "Run `brightrun supabase migrate`.")
    return ok(f"version {version}, {len(project.facts.tables)} tables")


async def look_at_row_security(project: Project) -> Outcome:
    """Whether each table shows a user their own rows only."""
    assert project.facts is not None, "checked before"
    tables = project.facts.tables
    if bare := [table.name for table in tables if not table.has_row_security]:
        return failure(
            f"off: {', '.join(bare)}",
            "Run `brightrun supabase migrate`; for a table of the web application: alter table "
            f"{bare[0]} enable row level security.",
        )
    if others := [f"{t.name}: {', '.join(t.others_policies)}" for t in tables if t.others_policies]:
        return warning(
            f"on; policies that are not ours: {'; '.join(others)}",
            "Policies add up: see whether these let more people in than a row's owner.",
        )
    return ok("on in every table")


async def look_at_strangers(project: Project) -> Outcome:
    """What somebody without a login gets: by their rights, and by really asking as one."""
    assert project.facts is not None, "checked before"
    tables = project.facts.tables
    if not project.known.is_service and (seen := await seen_by_anon(project.known)):
        return failure(
            f"without a login rows are seen of: {', '.join(seen)}",
            "Run `brightrun supabase migrate`, and drop policies for anon or public.",
        )
    if granted := [table.name for table in tables if table.is_open_to_anon]:
        return warning(
            f"no row is seen, but anon has rights to: {', '.join(granted)}",
            f"revoke all on {granted[0]} from anon;",
        )
    return ok("see nothing")


async def look_at_bucket(project: Project) -> Outcome:
    """Where adapters are stored."""
    bucket = await read_bucket(project.asked)
    if bucket is None:
        return failure(f"{BUCKET} is missing", "Run `brightrun supabase migrate`.")
    if bucket.is_public:
        return failure(
            f"{BUCKET} is public: who knows a name reads the file",
            "Run `brightrun supabase migrate`, which makes it private.",
        )
    return ok(f"{BUCKET}, private")


async def look_at_size_limit(project: Project) -> Outcome:
    """Whether the adapter of a large model may be uploaded."""
    most = await Storage(project.asked).most_bytes()
    needed = f"an adapter of Llama 3 70B at r = 16 has {size(ADAPTER_70B_BYTES)}"
    if most is None:
        return warning("the project does not say it", f"The free plan takes 50 MB; {needed}.")
    if most < ADAPTER_70B_BYTES:
        return warning(
            f"files up to {size(most)}; {needed}",
            "Raise it in the project's storage settings (the free plan ends at 50 MB) and at the "
            "bucket. Smaller adapters go up; larger ones stay on this machine.",
        )
    return ok(f"files up to {size(most)}")


async def look_at_mirror(project: Project) -> Outcome:
    """How far the project is behind this console's store, by what the store knows."""
    path = project.config.database_path
    if not path.exists():
        return ok("nothing to send yet")
    async with open_store(path) as store:
        found = lag_of(await store.mirror_progress.behind(project.known.target))
    words = found.words(utc_now())
    if found.refused:
        return warning(words, "Nothing else waits for it; mend what it names, and it is sent.")
    if found.failure is not None:
        return warning(words, "It goes on by itself as soon as the checks above are well.")
    return ok(words)


SUPABASE_CHECKS = (
    Check("settings", look_at_settings),
    Check("package", look_at_package),
    Check("address", look_at_address, needs=("settings",)),
    Check("clock", look_at_clock, needs=("address",)),
    Check("right", look_at_right, needs=("package", "address")),
    Check("schema", look_at_schema, needs=("right",)),
    Check("row level security", look_at_row_security, needs=("schema",)),
    Check("strangers", look_at_strangers, needs=("schema",)),
    Check("bucket", look_at_bucket, needs=("right",)),
    Check("file size", look_at_size_limit, needs=("bucket",)),
    Check("mirror", look_at_mirror, needs=("settings",)),
)
