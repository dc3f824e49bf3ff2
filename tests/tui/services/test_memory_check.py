from __future__ import annotations

from pathlib import Path

import pytest

from shared.agent_protocol import GpuFacts, MachineFacts
from shared.errors import TooLittleMemory
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.memory.cards import GB, Fit
from tests.shared.llama_70b import LLAMA_70B
from tui.services.memory_check import Prediction, Room, predict, require_room, room_on
from tui.services.model_shapes import FoundShape, model_shape
from tui.services.training_plan import TrainingPlan

PLAN = TrainingPlan(9, 1, 25, 8000, 6, longest_row_tokens=2000, largest_step_tokens=20_000)
H100 = GpuFacts(index=0, name="NVIDIA H100 PCIe", memory_total_mib=81_559, memory_used_mib=4)


def job(**values: object) -> JobSpec:
    dataset = DatasetReference(file_name="a.json", sha256="0" * 64, size_bytes=1)
    return build_job_spec(dataset, {"name": "a job", **values}, "test")


def gpu(index: int, memory_total_mib: int | None, memory_used_mib: int = 0) -> GpuFacts:
    return GpuFacts(
        index=index,
        name=f"GPU {index}",
        memory_total_mib=memory_total_mib,
        memory_used_mib=memory_used_mib,
    )


def test_the_smallest_of_the_gpus_that_a_job_takes_counts() -> None:
    facts = MachineFacts(gpus=(gpu(0, 81_559), gpu(1, 24_564, 1024), gpu(2, 8192)))

    room = room_on(facts, num_gpus=2)
    assert room is not None
    assert (room.name, room.memory_bytes // GB, room.used_bytes) == ("GPU 1", 23, GB)
    alone = room_on(facts)
    assert alone is not None and alone.name == "GPU 0"


def test_a_machine_without_gpus_has_its_ram() -> None:
    facts = MachineFacts(memory_total_bytes=16 * GB, memory_available_bytes=10 * GB)
    assert room_on(facts) == Room("RAM", 16 * GB, on_gpu=False, used_bytes=6 * GB)


@pytest.mark.parametrize(
    "facts",
    [
        None,
        MachineFacts(),
        MachineFacts(gpu_trouble="nvidia-smi hangs.", memory_total_bytes=16 * GB),
        MachineFacts(gpus=(gpu(0, None),)),
    ],
)
def test_what_a_machine_does_not_tell_is_not_guessed(facts: MachineFacts | None) -> None:
    assert room_on(facts) is None


def test_a_70b_job_fits_on_an_h100_and_packs_no_more_than_a_step_has() -> None:
    room = room_on(MachineFacts(gpus=(H100,)))
    need = predict(job(), FoundShape(LLAMA_70B), PLAN, room).need

    assert need is not None
    assert (need.fit, need.plan.micro_batch_tokens) == (Fit.FITS, 8192)
    assert need.in_words == "about 60.2 GB of 79.6 GB (NVIDIA H100 PCIe)"
    require_room(Prediction(need))


def test_a_job_that_cannot_fit_is_refused_with_what_would() -> None:
    too_long = job(pack_tokens=32_768)
    plan = TrainingPlan(9, 1, 25, 8000, 6, longest_row_tokens=2000, largest_step_tokens=40_000)
    need = predict(too_long, FoundShape(LLAMA_70B), plan, Room("H100_PCIE", 80 * GB)).need

    assert need is not None
    assert need.is_refused
    with pytest.raises(TooLittleMemory) as caught:
        require_room(Prediction(need))
    message = str(caught.value)
    assert message.startswith("the job needs about 112.3 GB of 80.0 GB (H100_PCIE)")
    assert "--set pack_tokens=8192 (the same training, a little slower)" in message
    assert "a GPU with more memory, such as H200" in message


def test_ram_is_only_warned_about() -> None:
    need = predict(job(), FoundShape(LLAMA_70B), PLAN, Room("RAM", 16 * GB, on_gpu=False)).need

    assert need is not None
    assert (need.fit, need.is_refused) == (Fit.TOO_LARGE, False)
    require_room(Prediction(need))


def test_why_nothing_can_be_said_is_told() -> None:
    room = Room("H100_PCIE", 80 * GB)
    assert predict(job(), FoundShape(None, "it is gated"), PLAN, room).reason == "it is gated"
    assert "has not told" in predict(job(), FoundShape(LLAMA_70B), PLAN, None).reason
    joined = job(hyperparameters={"target_modules": "qkv_proj"})
    assert (
        "a llama model has no qkv_proj" in predict(joined, FoundShape(LLAMA_70B), PLAN, room).reason
    )


def test_a_model_in_a_directory_tells_its_shape_here_and_not_on_another_host(
    tmp_path: Path,
) -> None:
    assert "cannot be read" in model_shape(str(tmp_path)).reason
    assert model_shape(str(tmp_path), host="ssh:box").reason == (
        f"{tmp_path} lies on ssh:box, and not here"
    )
    assert model_shape("a\0b").reason
    assert model_shape("tiny", host="ssh:box").shape is not None
