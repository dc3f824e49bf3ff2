"""Pods that cannot be read: they are not absent, and what is in them is nobody's business."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from shared.errors import ProviderUnreachable
from tests.tui.services.providers.runpod.scripted_api import answer, scripted_api
from tui.services.providers.runpod.provider import RunpodProvider

POD: dict[str, Any] = {"id": "p1", "name": "ours-1", "status": "RUNNING"}
CANARY = "hf_CANARY"
UNREADABLE = [
    {"env": {"HF_TOKEN": CANARY}},
    {"id": "", "name": "x", "status": "RUNNING", "env": {"HF_TOKEN": CANARY}},
    {**POD, "cost": CANARY},
    CANARY,
]


@pytest.mark.parametrize("pod", UNREADABLE)
async def test_a_pod_that_cannot_be_read_spoils_the_list_since_it_is_not_absent(pod: Any) -> None:
    async with scripted_api(answer(200, {"pods": [POD, pod]})) as api:
        provider = RunpodProvider("key", api.url)
        with pytest.raises(ProviderUnreachable) as caught:
            await provider.machines()
        await provider.close()

    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("pod", UNREADABLE)
async def test_a_machine_that_cannot_be_read_is_not_absent(pod: Any) -> None:
    async with scripted_api(answer(200, pod)) as api:
        provider = RunpodProvider("key", api.url)
        with pytest.raises(ProviderUnreachable) as caught:
            await provider.machine("p1")
        await provider.close()

    assert CANARY not in "".join(traceback.format_exception(caught.value))
