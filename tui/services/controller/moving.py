"""Where the network volume is, no machine is to be had: go on elsewhere, if the user agrees.

The newest checkpoint is brought here by the smallest machine on the volume, and goes along to the
next machine, which may be anywhere. From then on the job has no volume, which the question says.
Nothing dearer than the dearest candidate that was agreed is taken.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path, PurePosixPath

from shared.errors import AgentError, BrightRunError, ProviderError
from shared.events import utc_now
from shared.machine_request import Candidate, Cloud, Stock
from shared.manifest import MANIFEST_NAME, file_sha256
from shared.rental import RentalPhase
from tui.services.controller.volume_artifacts import bring_newest_checkpoint
from tui.services.controller.volume_machine import machine_on_volume, visit_for
from tui.services.controller.work import Overtaken, Work
from tui.services.hosts.rented import base_on


async def move(work: Work) -> None:
    """Find machines elsewhere, bring the checkpoint here, and rent one of them."""
    if work.wants_cancel or work.is_late:
        await work.enter(RentalPhase.WAITING, "it was not moved", question="")
        return
    try:
        elsewhere = await _candidates(work)
        if not elsewhere:
            reason = "nowhere else is such a machine to be had at the agreed price either"
            await _give_up(work, reason)
            return
        carried = await work.guarded(_bring_checkpoint(work))
    except Overtaken:
        return
    except (ProviderError, AgentError, BrightRunError) as error:
        await _give_up(work, f"it could not be moved: {error}")
        return
    changes = {
        "candidates": elsewhere,
        "network_volume_id": None,
        "network_volume_usd_per_month": None,
    }
    await work.office.session.store.rentals.change_request(
        work.job_id, work.request.model_copy(update=changes)
    )
    await work.reload()
    step = "from its base model" if carried is None else f"after {carried.name}"
    await work.enter(
        RentalPhase.PROVISIONING,
        f"going on elsewhere, {step}",
        carried="" if carried is None else str(carried),
        attempts_lost=work.job.state.attempt,
        next_candidate=0,
        failures=(),
        waiting_since=None,
        question="",
    )


async def send_along(work: Work) -> None:
    """Put the carried checkpoint where an earlier attempt would have left it.

    Raises:
        AgentUnreachable: the connection was lost; calling again goes on from there.
    """
    source = Path(work.rental.carried)
    # attempts/N/checkpoints/step-S, as it lay on the volume.
    place = PurePosixPath(*source.parts[-4:])
    host = await work.host.over_ssh()
    target = f"{base_on(work.request, work.job_id)}/agent/jobs/{work.job_id}/{place}"
    files = [path for path in sorted(source.iterdir()) if path.name != MANIFEST_NAME]
    for path in [*files, source / MANIFEST_NAME]:
        there = await host.shell.run(f"sha256sum '{target}/{path.name}' 2>/dev/null")
        sha256 = await asyncio.to_thread(file_sha256, path)
        if there.stdout.split(maxsplit=1)[:1] != [sha256]:
            await host.shell.put(path, f"{target}/{path.name}")


def forget_carried(home: Path, job_id: str) -> None:
    """Once the job has ended; blocks."""
    shutil.rmtree(_folder(home, job_id), ignore_errors=True)


async def _give_up(work: Work, reason: str) -> None:
    await work.note(reason, "warning")
    since = work.rental.waiting_since or utc_now()
    await work.enter(RentalPhase.WAITING, reason, waiting_since=since)


async def _candidates(work: Work) -> tuple[Candidate, ...]:
    """Of the agreed GPU types in their order, in stock, and no dearer than was agreed."""
    agreed = work.request.candidates
    wanted = list(dict.fromkeys(candidate.gpu_type for candidate in agreed))
    dearest = max(candidate.usd_per_hour for candidate in agreed)
    here = {candidate.data_center for candidate in agreed}
    offers = await work.office.provider.offers(wanted, agreed[0].gpu_count, [Cloud.SECURE])
    fitting = [
        offer
        for offer in offers
        if offer.stock is not Stock.NONE
        and offer.usd_per_hour <= dearest
        and offer.data_center not in here
    ]
    order = {gpu_type: place for place, gpu_type in enumerate(wanted)}
    return tuple(sorted(fitting, key=lambda o: (order[o.gpu_type], -o.stock.rank, o.usd_per_hour)))


async def _bring_checkpoint(work: Work) -> Path | None:
    office = work.office
    folder = _folder(office.session.config.home, work.job_id)
    visit = visit_for(work.stored, "to bring the newest checkpoint here")

    def tell(step: str) -> None:
        office.tell(f"{work.job_id}: {step}")

    async with machine_on_volume(
        office.session, office.provider, visit, tell, office.settings.tick_s
    ) as host:
        root = f"{base_on(work.request, work.job_id)}/agent"
        return await bring_newest_checkpoint(host.shell, root, work.job_id, folder, tell)


def _folder(home: Path, job_id: str) -> Path:
    return home / "moving" / job_id
