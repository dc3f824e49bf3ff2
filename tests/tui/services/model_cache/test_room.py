"""How much disk a job needs on a rented machine, against figures computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import InvalidMachineRequest
from shared.model_shape import BUILT_SHAPES
from tests.shared.llama_70b import LLAMA_70B
from tests.tui.services.rental_work import work
from tui.services.hub_models import HubModel
from tui.services.model_cache.room import Disk, copy_bytes, disk_need, require_room
from tui.services.model_shapes import FoundShape

GB = 10**9


def test_the_quantised_copy_of_llama_70b_takes_39_5_gb() -> None:
    assert copy_bytes(LLAMA_70B) == pytest.approx(39.5 * GB, rel=0.01)


def test_two_files_of_the_source_lie_beside_the_copy_and_never_all_of_it() -> None:
    need = disk_need(work().spec, FoundShape(LLAMA_70B))
    lines = dict(need.lines)

    assert lines["of it on its way"] == 2 * 5 * GB
    assert lines["the training stack"] == 15 * GB
    assert lines["checkpoints"] == pytest.approx(4 * 1.26 * GB, rel=0.01)
    assert lines["the adapter"] == 4 * 207_093_760
    # 39.5 + 10 + 15 + 5.1 + 0.8 + 2.1 that stays free.
    assert need.size_bytes == pytest.approx(72.6 * GB, rel=0.01)
    assert need.size_gb == 80


def test_the_hubs_own_list_of_files_says_how_large_a_shard_is() -> None:
    shards = tuple(
        (f"model-{number:05}-of-00030.safetensors", 4_700_000_000) for number in range(30)
    )
    hub = HubModel("org/llama", "a" * 40, shards)
    lines = dict(disk_need(work().spec, FoundShape(LLAMA_70B, hub=hub)).lines)
    assert lines["of it on its way"] == 9_400_000_000


def test_a_small_model_is_not_kept_quantised_and_lies_there_as_it_is_published() -> None:
    hub = HubModel("org/small", "a" * 40, (("model.safetensors", 270_000_000),))
    need = disk_need(work().spec, FoundShape(BUILT_SHAPES["smollm2"], hub=hub))
    assert need.lines[0] == ("the base model as it is published", 270_000_000)
    assert need.size_gb == 50


def test_a_model_that_lies_on_the_volume_takes_nothing_more() -> None:
    spec = work().spec.model_copy(update={"base_model": "/workspace/llama"})
    need = disk_need(spec, FoundShape(LLAMA_70B))
    assert need.lines[0][0] == "the training stack"


def test_what_nobody_knows_is_no_reason_to_refuse() -> None:
    need = disk_need(work().spec, FoundShape(None, "the hub does not answer"))
    assert not need.is_complete and need.size_gb == 50
    require_room(need, Disk("volume", 10, "mine"))


def test_other_base_models_on_the_volume_count() -> None:
    alone = disk_need(work().spec, FoundShape(LLAMA_70B))
    beside = disk_need(work().spec, FoundShape(LLAMA_70B), taken_bytes=40 * GB)
    assert beside.size_bytes - alone.size_bytes == 40 * GB


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (Disk("volume", 70, "mine"), r"volume mine has 70 GB.*at least 80 GB.*--volume new:80"),
        (Disk("new volume", 50), r"would have 50 GB.*Take --volume new:80"),
        (Disk("container", 60), r"own disk would have 60 GB.*Take --disk 80"),
    ],
)
def test_too_small_a_disk_is_refused_with_the_size_that_would_do(disk: Disk, told: str) -> None:
    need = disk_need(work().spec, FoundShape(LLAMA_70B))
    with pytest.raises(InvalidMachineRequest, match=told):
        require_room(need, disk)
    require_room(need, replace(disk, size_gb=80))
