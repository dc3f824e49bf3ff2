"""What a Supabase project has of ours: tables with their rules, rows, the bucket.

Asks with the user's own right and reads no row. What is missing is said by `SchemaMismatch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from shared.errors import SchemaMismatch
from tui.services.supabase.connection import TIMEOUT, Supabase, supabase_errors
from tui.services.supabase.migration import SCHEMA_VERSION
from tui.services.supabase.settings import BUCKET, SupabaseSettings

TABLES = ("training_files", "training_jobs", "model_artifacts", "training_metrics_history")
OWN_POLICY = "brightrun_owner"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table's rules."""

    name: str
    has_row_security: bool
    is_open_to_anon: bool
    """Somebody without a login has a right to it; row security may still show them nothing."""
    policies: tuple[str, ...]

    @property
    def others_policies(self) -> tuple[str, ...]:
        """Those that are not ours: policies add up, and each can let more people in."""
        return tuple(name for name in self.policies if name != OWN_POLICY)


@dataclass(frozen=True, slots=True)
class SchemaFacts:
    """What `brightrun_schema()` answers."""

    version: int
    tables: tuple[TableFacts, ...]

    @property
    def is_current(self) -> bool:
        return self.version == SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """The bucket of the adapters."""

    name: str
    is_public: bool
    """Then everybody who knows a name reads the file."""


async def read_schema(supabase: Supabase) -> SchemaFacts:
    """The tables and their rules.

    Raises:
        SchemaMismatch: they are not there, or not reachable with this right.
        SupabaseError: no answer.
    """
    with supabase_errors():
        answer = await supabase.client.rpc("brightrun_schema", {}).execute()
    return schema_facts(answer.data)


def schema_facts(said: Any) -> SchemaFacts:
    """Decode the answer of `brightrun_schema()`.

    Raises:
        SchemaMismatch: it is none.
    """
    try:
        tables = tuple(_table(name, said["tables"][name]) for name in TABLES)
        return SchemaFacts(int(said["version"]), tables)
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaMismatch(
            "brightrun_schema() does not answer as ours does; run `brightrun supabase migrate`."
        ) from error


def _table(name: str, said: Mapping[str, Any]) -> TableFacts:
    return TableFacts(name, bool(said["rls"]), bool(said["anon"]), tuple(said["policies"]))


async def count_rows(supabase: Supabase) -> dict[str, int]:
    """How many rows of each table this right sees.

    Raises:
        SupabaseError: no answer, or no right.
    """
    counts = {}
    for name in TABLES:
        with supabase_errors():
            answer = await supabase.table(name).select("id", count="exact").limit(1).execute()
        counts[name] = int(answer.count or 0)
    return counts


async def read_bucket(supabase: Supabase) -> BucketFacts | None:
    """The bucket of the adapters; None where it is missing, or not to be seen with this right.

    Raises:
        SupabaseError: no answer.
    """
    url = f"{supabase.settings.url}/storage/v1/bucket/{BUCKET}"
    with supabase_errors():
        answer = await supabase.http.get(url, headers=supabase.headers)
        if answer.status_code >= 500:
            answer.raise_for_status()
    if answer.status_code != 200:
        return None
    return BucketFacts(BUCKET, bool(answer.json().get("public")))


async def seen_by_anon(settings: SupabaseSettings) -> list[str]:
    """The tables of which somebody with nothing but the publishable key reads a row.

    Raises:
        SupabaseUnreachable: no answer.
    """
    assert not settings.is_service, "a secret key is not anon"
    seen = []
    # Not over the connection, which puts the login into each request.
    with supabase_errors():
        async with httpx.AsyncClient(http2=False, timeout=TIMEOUT) as http:
            for table in TABLES:
                answer = await http.get(
                    f"{settings.url}/rest/v1/{table}",
                    params={"select": "id", "limit": "1"},
                    headers={"apikey": settings.key, "Accept-Profile": settings.schema},
                )
                if answer.status_code == 200 and answer.json() != []:
                    seen.append(table)
    return seen
