"""`brightrun models list|show|history`: what versions there are, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.model_version import DeploymentChange, ModelVersion, parse_reference
from tui import exit_codes
from tui.commands.output import print_json, print_pairs, print_table, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.model_files import places
from tui.services.models import find_version, sync_versions
from tui.services.session import Session
from tui.views.model_details import change_words, detail_pairs
from tui.views.model_rows import (
    HEADERS,
    HISTORY_HEADERS,
    NUMBERS,
    count_words,
    grouped,
    history_row,
    model_rows,
    uploaded_words,
)

_EMPTY = (
    "no versions yet: a job that completes makes one. `brightrun start --dataset FILE` starts one."
)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What was typed."""

    name: str = ""
    """Only of models whose name has this."""
    statuses: tuple[DeploymentStatus, ...] = ()
    deleted: bool = False
    as_json: bool = False


async def list_versions(options: ListOptions) -> int:
    """Print the versions by model, the newest first."""
    async with open_terminal_session() as session:
        await sync_versions(session)
        known = await session.store.models.all()
        states = await session.store.models.upload_states()
    versions = grouped(each for each in known if _is_wanted(each, options))
    if options.as_json:
        print_json([_listed(each, states) for each in versions])
    elif not known:
        say(_EMPTY)
    elif not versions:
        say(f"none of the {count_words(known)} is like that.")
    else:
        rows = [row.cells for row in model_rows(versions, states)]
        print_table(list(HEADERS), rows, shrinking="BASE MODEL", numbers=NUMBERS)
    return exit_codes.OK


async def show_version(typed: str, *, as_json: bool) -> int:
    """Print one version, and its history below."""
    async with open_terminal_session() as session:
        version = await find_version(session, typed)
        states = await session.store.models.upload_states()
        uploaded = states.get(version.job_id, frozenset())
        files = await asyncio.to_thread(places, session.config, version, uploaded)
        history = await session.store.models.history([version.version_id])
    if as_json:
        described = {"files": files, "uploaded": uploaded_words(uploaded) if uploaded else None}
        changes = [change.to_dict() for change in history]
        print_json({**version.to_dict(), **described, "history": changes})
        return exit_codes.OK
    print_pairs(detail_pairs(version, files))
    for change in history:
        say_line(change_words(change))
    return exit_codes.OK


async def show_history(typed: str | None, *, as_json: bool) -> int:
    """Print every change, the oldest first."""
    async with open_terminal_session() as session:
        await sync_versions(session)
        versions = {each.version_id: each for each in await _meant(session, typed)}
        history = await session.store.models.history(list(versions)) if versions else []
    references = {key: each.reference for key, each in versions.items()}
    if as_json:
        print_json([_described(change, references) for change in history])
    elif not history:
        say("nothing was changed yet; `brightrun models promote` changes a version's status.")
    else:
        rows = [history_row(change, references) for change in history]
        print_table(list(HISTORY_HEADERS), rows, shrinking="WHY")
    return exit_codes.OK


async def _meant(session: Session, typed: str | None) -> list[ModelVersion]:
    """One version, all of a model, or all."""
    known = await session.store.models.all()
    if typed is None:
        return known
    name, number = parse_reference(typed)
    found = [each for each in known if each.model_name == name and number in (None, each.version)]
    if not found:
        raise InvalidInput(f"{typed}: there is none. `brightrun models` lists all.")
    return found


def _is_wanted(version: ModelVersion, options: ListOptions) -> bool:
    return (
        options.name.casefold() in version.model_name
        and (options.deleted or not version.is_deleted)
        and (not options.statuses or version.status in options.statuses)
    )


def _listed(version: ModelVersion, states: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    states_of = states.get(version.job_id, frozenset())
    return {**version.to_dict(), "uploaded": uploaded_words(states_of) if states_of else None}


def _described(change: DeploymentChange, references: dict[str, str]) -> dict[str, str]:
    return {"reference": references[change.version_id], **change.to_dict()}
