"""`brightrun models promote|archive|name|delete`: each change is written down with its reason."""

from __future__ import annotations

from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.model_version import checked_reason, why_not_deleted
from tui import exit_codes
from tui.commands.consent import agreed, require_asker
from tui.commands.output import print_json, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.model_files import delete_version
from tui.services.models import find_version, move_version, name_version
from tui.views.model_rows import REMOVES, removal_lines


async def move(typed: str, status: DeploymentStatus, why: str, *, as_json: bool) -> int:
    """Give a version another deployment status.

    Raises:
        InvalidInput: no reason, a move that is not possible, or production.
    """
    async with open_terminal_session() as session:
        version = await find_version(session, typed)
        moved = await move_version(session, version, status, why)
    if as_json:
        print_json(moved.to_dict())
    else:
        say_line(f"{moved.reference}: {version.status} -> {moved.status}.")
    return exit_codes.OK


async def rename(job_id: str, name: str, why: str) -> int:
    """Let the job's version be the next one of another model."""
    async with open_terminal_session() as session:
        version = await name_version(session, job_id, name, why)
    say_line(f"{version.job_id} is {version.reference}.")
    return exit_codes.OK


async def delete(typed: str, why: str, *, yes: bool, as_json: bool) -> int:
    """Ask, then remove a version's files; returns 1 where some of them are still there.

    Raises:
        InvalidInput: no reason, nobody to ask, or a version in production.
    """
    require_asker("what is removed", yes=yes)
    async with open_terminal_session() as session:
        version = await find_version(session, typed)
        if refusal := why_not_deleted(version):
            raise InvalidInput(refusal)
        reason = why if version.is_deleted else checked_reason(why)
        question = f"Remove the files of {version.reference} (job {version.job_id})? {REMOVES}"
        if not agreed(question, yes=yes):
            say("nothing was removed.")
            return exit_codes.CANCELLED
        version, removal = await delete_version(session, version, reason)
    for line in removal_lines(removal):
        say(line)
    if as_json:
        parts = {"removed": removal.removed, "kept": removal.kept, "troubles": removal.troubles}
        print_json({**version.to_dict(), **{name: list(words) for name, words in parts.items()}})
    else:
        say_line(f"{version.reference}: deleted; its record stays.")
    return exit_codes.JOB_FAILED if removal.troubles else exit_codes.OK
