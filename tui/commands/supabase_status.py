"""`brightrun supabase status`: the project, the right, what stands there, how far behind it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput, SchemaMismatch, SupabaseError
from shared.events import utc_now
from shared.number_text import many, size
from tui import exit_codes
from tui.commands.output import print_json, print_pairs
from tui.config import Config, load_config
from tui.services.session import open_session
from tui.services.supabase.connection import Supabase, connected
from tui.services.supabase.lag import lag
from tui.services.supabase.login import read_login
from tui.services.supabase.schema_check import TABLES, count_rows, read_bucket, read_schema
from tui.services.supabase.settings import BUCKET, SupabaseSettings, load_settings
from tui.services.supabase.storage import Storage
from tui.services.supabase.wording import key_words


@dataclass(slots=True)
class Status:
    """What was found out; None is not known."""

    url: str
    schema: str
    right: str
    version: int | None = None
    rows: dict[str, int] | None = None
    bucket: str | None = None
    largest_file_bytes: int | None = None
    mirror: str = ""
    behind_s: float = 0.0
    trouble: str = ""


async def show_status(*, as_json: bool) -> int:
    """Print it; the code of the trouble, if there is one.

    Raises:
        InvalidInput: no project is named, or the settings cannot be right.
    """
    config, settings = load_config(), load_settings()
    if settings is None:
        raise InvalidInput(
            "No Supabase project is named: set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY, then "
            "`brightrun supabase login`."
        )
    status = Status(settings.url, settings.schema, key_words(settings))
    code = exit_codes.OK
    try:
        await _ask(config, settings, status)
    except SupabaseError as error:
        status.trouble, code = str(error), error.exit_code
    await _look_at_mirror(config, status)
    if as_json:
        print_json(_as_data(status))
    else:
        print_pairs(_as_pairs(status))
    return code


async def _ask(config: Config, settings: SupabaseSettings, status: Status) -> None:
    async with AsyncExitStack() as stack:
        opening = connected(settings, config.supabase_session_path)
        supabase: Supabase = await stack.enter_async_context(opening)
        status.right = _right(config, settings)
        status.version = (await read_schema(supabase)).version
        status.rows = await count_rows(supabase)
        bucket = await read_bucket(supabase)
        if bucket is None:
            raise SchemaMismatch(f"The bucket {BUCKET} is missing: `brightrun supabase migrate`.")
        status.bucket = f"{bucket.name}, {'PUBLIC' if bucket.is_public else 'private'}"
        status.largest_file_bytes = await Storage(supabase).most_bytes()


async def _look_at_mirror(config: Config, status: Status) -> None:
    """By the store alone, so that it is known where nothing answers."""
    async with open_session(config) as session:
        found = await lag(session)
    if found is not None:
        now = utc_now()
        status.mirror, status.behind_s = found.words(now), found.behind_s(now)


def _right(config: Config, settings: SupabaseSettings) -> str:
    if settings.is_service:
        owner = settings.created_by or "nobody (BRIGHTRUN_SUPABASE_USER is not set)"
        return f"{key_words(settings)}; rows belong to {owner}"
    login = read_login(config.supabase_session_path, settings)
    return f"{key_words(settings)}, logged in as {login.email or login.user_id}"


def _as_pairs(status: Status) -> list[tuple[str, str]]:
    pairs = [("project", status.url), ("schema", status.schema), ("right", status.right)]
    if status.version is not None:
        pairs.append(("version", str(status.version)))
    if status.rows is not None:
        pairs += [(name, many(status.rows[name], "row")) for name in TABLES]
    if status.bucket is not None:
        most = status.largest_file_bytes
        limit = "" if most is None else f", files up to {size(most)}"
        pairs.append(("bucket", status.bucket + limit))
    if status.mirror:
        pairs.append(("mirror", status.mirror))
    if status.trouble:
        pairs.append(("trouble", status.trouble))
    return pairs


def _as_data(status: Status) -> dict[str, Any]:
    return {
        "url": status.url,
        "schema": status.schema,
        "right": status.right,
        "version": status.version,
        "rows": status.rows,
        "bucket": status.bucket,
        "largest_file_bytes": status.largest_file_bytes,
        "mirror": status.mirror or None,
        "behind_s": round(status.behind_s, 1),
        "trouble": status.trouble or None,
    }
