"""A stand-in for RunPod, and the real provider with its account."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import pytest

from tests.fakes.runpod.server import FakeRunpod, fake_runpod
from tui.services.providers.runpod.provider import RunpodProvider


@pytest.fixture
def fake() -> Iterator[FakeRunpod]:
    """Its pods are records and run nothing; no request may break the API's schema."""
    with fake_runpod(processes=False) as fake:
        yield fake
        assert fake.violations == []


@pytest.fixture
async def provider(fake: FakeRunpod) -> AsyncGenerator[RunpodProvider]:
    assert fake.api_key is not None
    provider = RunpodProvider(fake.api_key, fake.url, reconnect_pause_s=0.05, quiet_log_s=0.3)
    yield provider
    await provider.close()
