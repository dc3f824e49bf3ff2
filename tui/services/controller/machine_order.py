"""What is asked of the provider for one machine of a job; asks nobody itself."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from shared.machine_request import Candidate
from shared.pod_start import PodStart, render_start_command
from shared.rental import Machine
from tui.services.controller.work import Work
from tui.services.hosts.rented import base_on, shared_base_on
from tui.services.providers.provider import MachineOrder

_RUN_DIRECTORIES = PurePosixPath("/dev/shm/brightrun")
_BASE_URL = "RUNPOD_API_BASE_URL"


def machine_order(
    work: Work, machine: Machine, candidate: Candidate, public_key: str
) -> MachineOrder:
    """The whole order: image, start command, volume, and what the container is given."""
    request, settings = work.request, work.office.settings
    start = PodStart(
        rental=machine.number,
        base=base_on(request, work.job_id),
        shared=shared_base_on(request),
        start_script=request.start_script,
        run_directory=run_directory(machine.name),
        silence_limit_s=settings.silence_limit_s,
        lifetime_s=int(request.max_duration_hours * 3600) + settings.lifetime_margin_s,
        tick_s=settings.dead_man_tick_s,
    )
    return MachineOrder(
        name=machine.name,
        candidate=candidate,
        image=request.image,
        command=render_start_command(start),
        env=start_environment(public_key),
        container_disk_gb=request.container_disk_gb,
        min_cuda=request.min_cuda,
        network_volume_id=request.network_volume_id,
        mount_path=request.mount_path,
        data_center=candidate.data_center,
        registry=request.registry,
    )


def start_environment(public_key: str) -> dict[str, str]:
    """What a machine's container is given; the provider shows it to whoever sees the account."""
    environment = {"PUBLIC_KEY": public_key}
    if os.environ.get(_BASE_URL):
        environment[_BASE_URL] = os.environ[_BASE_URL]
    return environment


def run_directory(machine_name: str) -> str:
    """On the machine, in memory only: its heartbeat and its secrets."""
    return str(_RUN_DIRECTORIES / machine_name)
