"""Uploads results straight from a rented machine, once they are at home and before it is ended.

The machine's own line is faster than the user's. It is worth some minutes of the machine, and never
more: what is not there by then goes up from home. Nothing that goes wrong here is the job's matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import PurePosixPath

from shared.errors import AgentError, BrightRunError
from shared.events import utc_now
from shared.lifecycle import Activity
from shared.store.uploads import UploadState
from tui.services.artifact_uploads.gathering import adapter_files
from tui.services.artifact_uploads.sending import Sending, SendingSettings, in_order
from tui.services.controller.money import spent_usd
from tui.services.controller.work import Overtaken, Work
from tui.services.supabase.settings import SupabaseSettings, load_settings

logger = logging.getLogger(__name__)

_ENDING_S = 120.0
"""Kept of what the money pays for: a machine is paid for until it is gone."""


async def upload_from_machine(work: Work) -> None:
    """Return when it is all there, or when it is to be left to the console.

    Cancelling the job, its deadline or the loss of its machine end it at once.
    """
    try:
        settings = load_settings()
        if settings is None or (limit_s := await _limit_s(work)) <= 0:
            return
        await work.office.session.store.note_activity(
            work.job_id, Activity.UPLOADING, "to Supabase, from the machine"
        )
        async with asyncio.timeout(limit_s):
            is_there = await work.guarded(_upload(work, settings))
        how = "are in Supabase" if is_there else "go to Supabase from here: no headway there"
        await work.note(f"the results {how}")
    except TimeoutError:
        await work.note("the results go to Supabase from here: it took too long from the machine")
    except Overtaken:
        return
    except BrightRunError as error:
        await work.note(f"the results go to Supabase from here: {error}", "warning")
    except Exception:
        # A defect here must neither keep the machine nor lose the job.
        logger.exception("upload of %s from its machine", work.job_id)


async def _upload(work: Work, settings: SupabaseSettings) -> bool:
    from tui.services.supabase.connection import connected

    session = work.office.session
    uploads = session.store.uploads
    await uploads.plan(settings.target, await adapter_files(session, work.job))
    open_ones = [
        upload
        for upload in await uploads.of_job(work.job_id, settings.target)
        if upload.state in (UploadState.WAITING, UploadState.UPLOADING)
    ]
    if not open_ones:
        return True
    path = session.config.supabase_session_path
    async with connected(settings, path) as supabase, work.host.client() as client:
        listed = (await client.artifacts(work.job_id)).files
        there = {PurePosixPath(file.path).name: file.path for file in listed}
        paths = {upload.object_name: there[upload.file_name] for upload in open_ones}
        patience = SendingSettings(stall_s=work.office.settings.upload_stall_s)
        sending = Sending(uploads, supabase, session.config.home, patience)
        is_there = False
        try:
            is_there = await sending.send_from_agent(
                client, work.job_id, in_order(open_ones), paths
            )
        finally:
            if not is_there:
                # Two senders of one object would disturb each other.
                with contextlib.suppress(AgentError):
                    await client.give_up_uploads(work.job_id)
    return is_there


async def _limit_s(work: Work) -> float:
    """By the clock, and by what is left of the job's money, its reserve included."""
    machine = await work.machine()
    if machine is None:
        return 0.0
    left_usd = work.request.budget_usd - spent_usd(await work.machines(), utc_now())
    paid_s = left_usd / machine.usd_per_hour * 3600 if machine.usd_per_hour > 0 else float("inf")
    return min(work.office.settings.upload_limit_s, paid_s - _ENDING_S)
