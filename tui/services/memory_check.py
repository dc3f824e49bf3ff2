"""Whether a job fits into the memory of the machine that it is for, before anything is started.

A GPU that is too small is refused: the job would end out of memory, on rented time. RAM is only
warned about: what else a machine will need of it by then, nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shared.agent_protocol import GpuFacts, MachineFacts
from shared.clean_text import clean_line
from shared.errors import InvalidBaseModel, StoreError, TooLittleMemory
from shared.job_spec import JobSpec
from shared.memory.cards import Fit, cards_that_fit, judge, memory_of_driver
from shared.memory.fitting import Remedy, remedies
from shared.memory.plan import MemoryPlan, plan_memory
from shared.memory.workload import Workload
from shared.number_text import size
from shared.store.store import Store
from tui.services.dataset_check import CheckedFile
from tui.services.machines import look_at
from tui.services.model_shapes import FoundShape, model_shape
from tui.services.session import Session
from tui.services.training_plan import TrainingPlan, plan_training


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that one process of a job would have."""

    name: str
    """`NVIDIA H100 PCIe`, or `RAM`."""
    memory_bytes: int
    on_gpu: bool = True
    used_bytes: int = 0
    """By others, at this moment."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """A prediction beside the memory that is there."""

    plan: MemoryPlan
    room: Room
    remedies: tuple[Remedy, ...] = ()
    """Settings that would fit, where it is too large."""

    @property
    def fit(self) -> Fit:
        return judge(self.plan.peak_bytes, self.room.memory_bytes)

    @property
    def is_refused(self) -> bool:
        """Too large for a GPU."""
        return self.fit is Fit.TOO_LARGE and self.room.on_gpu

    @property
    def in_words(self) -> str:
        """`about 61.0 GB of 80.0 GB (H100_PCIE)`."""
        name = clean_line(self.room.name)
        return f"about {size(self.plan.peak_bytes)} of {size(self.room.memory_bytes)} ({name})"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The need; else None and the reason, a sentence without an end."""

    need: MemoryNeed | None
    reason: str = ""


def predict(spec: JobSpec, found: FoundShape, plan: TrainingPlan, room: Room | None) -> Prediction:
    """What one process of the job needs, and what would fit if it is too much."""
    if found.shape is None:
        return Prediction(None, found.reason)
    if room is None:
        return Prediction(None, "the host has not told its memory")
    workload = Workload.of(
        spec,
        found.shape,
        longest_row_tokens=plan.longest_row_tokens,
        step_tokens=plan.largest_step_tokens,
        on_gpu=room.on_gpu,
    )
    try:
        need = MemoryNeed(plan_memory(workload), room)
    except InvalidBaseModel as error:  # An adapter on a layer that the model does not have.
        return Prediction(None, str(error).rstrip("."))
    if need.fit is Fit.TOO_LARGE:
        need = MemoryNeed(need.plan, room, tuple(remedies(workload, room.memory_bytes)))
    return Prediction(need)


def room_on(facts: MachineFacts | None, num_gpus: int = 1) -> Room | None:
    """Of the smallest of the GPUs that a job would take, or RAM; None where it is not told."""
    if facts is None:
        return None
    if not facts.gpus:
        if facts.gpu_trouble or not facts.memory_total_bytes:
            return None
        used = facts.memory_total_bytes - facts.memory_available_bytes
        return Room("RAM", facts.memory_total_bytes, on_gpu=False, used_bytes=used)
    smallest = min(facts.gpus[:num_gpus], key=lambda gpu: gpu.memory_total_mib or 0)
    if not smallest.memory_total_mib:
        return None
    return Room(
        smallest.name,
        memory_of_driver(smallest.memory_total_mib),
        used_bytes=_most_used(facts.gpus[:num_gpus]),
    )


def _most_used(gpus: Sequence[GpuFacts]) -> int:
    return max(memory_of_driver(gpu.memory_used_mib or 0) for gpu in gpus)


async def room_of_host(session: Session, host_name: str, num_gpus: int = 1) -> Room | None:
    """As the machine is now, or as it was last seen; None where it does not tell.

    Raises:
        SshRefused: the machine lets nobody in.
    """
    sight = await look_at(session.hosts.get(host_name), session.store)
    return room_on(sight.known.facts, num_gpus)


async def predict_for_start(
    store: Store, checked: CheckedFile, spec: JobSpec, host_name: str
) -> Prediction:
    """For the machine as it was last seen: nobody asks it before the job is written down."""
    found = await asyncio.to_thread(
        model_shape, spec.base_model, spec.base_model_revision, host_name, may_fetch=True
    )
    if found.shape is None or checked.outline is None:
        return Prediction(None, found.reason or "the training file was not counted")
    room = room_on(await known_facts(store, host_name), spec.num_gpus)
    plan = await asyncio.to_thread(plan_training, checked.outline, spec.hyperparameters)
    return predict(spec, found, plan, room)


async def known_facts(store: Store, host_name: str) -> MachineFacts | None:
    """What the host told of itself when it was last reached; None also where the store is ill."""
    try:
        return next((host.facts for host in await store.hosts() if host.name == host_name), None)
    except StoreError:
        return None


def require_room(memory: Prediction | None) -> None:
    """Refuse what cannot fit; what is not known is let through.

    Raises:
        TooLittleMemory: with the settings, or the GPUs, that would do.
    """
    need = None if memory is None else memory.need
    if need is None or not need.is_refused:
        return
    ways = [f"{remedy.as_options} ({remedy.consequence})" for remedy in need.remedies]
    if larger := cards_that_fit(need.plan.peak_bytes):
        ways.append(f"a GPU with more memory, such as {larger[0]}")
    advice = f" What would fit: {'; or '.join(ways)}." if ways else ""
    raise TooLittleMemory(
        f"the job needs {need.in_words} by the prediction.{advice} "
        "`brightrun estimate` shows the arithmetic; `brightrun start --ignore-memory` starts it "
        "all the same."
    )
