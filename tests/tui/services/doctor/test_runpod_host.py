from __future__ import annotations

from pathlib import Path

import pytest

from shared.store.store import Store
from tests.fakes.runpod.server import FakeRunpod
from tui.config import load_config
from tui.services.doctor.checks import Finding, Verdict
from tui.services.doctor.examination import examine


async def findings() -> dict[str, Finding]:
    """Of the account, by the check's name."""
    found = [finding async for finding in examine(load_config(), "runpod")]
    return {finding.check: finding for finding in found if finding.part == "runpod"}


async def test_an_account_that_is_ready_shows_prices_and_volumes_and_makes_nothing(
    runpod: FakeRunpod, home: Path
) -> None:
    runpod.create_volume({"name": "mine", "size": 200, "dataCenter": "US-KS-2"})

    found = await findings()

    assert {finding.verdict for finding in found.values()} == {Verdict.OK}
    assert found["API key"].found == "RUNPOD_API_KEY"
    assert found["network volumes"].found == "mine (200 GB, US-KS-2)"
    assert found["stock"].found.startswith("A100_80GB $1.64/h; H100_PCIE $2.39/h")
    assert {call.method for call in runpod.requests} == {"GET"}
    assert not home.exists()
    assert runpod.api_key is not None
    assert all(runpod.api_key not in finding.found + finding.fix for finding in found.values())


async def test_without_a_key_the_rest_is_skipped_and_it_says_how_to_get_one(home: Path) -> None:
    found = await findings()

    assert found["API key"].verdict is Verdict.FAILURE
    assert "RUNPOD_API_KEY" in found["API key"].found
    assert found["API"].verdict is found["stock"].verdict is Verdict.SKIPPED


async def test_a_wrong_key_and_an_address_without_tls_are_failures(
    runpod: FakeRunpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    runpod.revoke_key()
    assert (await findings())["API"].verdict is Verdict.FAILURE

    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://example.invalid")
    found = await findings()
    assert found["address"].verdict is Verdict.FAILURE
    assert "https" in found["address"].found
    assert found["API key"].verdict is Verdict.SKIPPED


async def test_no_stock_no_volume_and_orphans_are_warnings_with_what_to_do(
    runpod: FakeRunpod, store: Store
) -> None:
    name = f"brightrun-{await store.rentals.mark()}-job-gone-1"
    gpu = {"id": "NVIDIA H100 PCIe", "count": 1}
    runpod.create({"name": name, "image": "an-image", "gpu": gpu, "cloud": "SECURE"})
    runpod.catalogue.set_stock(0)

    found = await findings()

    warned = {name for name, each in found.items() if each.verdict is Verdict.WARNING}
    assert warned == {"network volumes", "stock", "orphans"}
    assert "machines reap" in found["orphans"].fix
