from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tui.services.web_api.served import OLD_SECRET, SECRET, Served, served
from tui.services.session import Session, open_session
from tui.services.web_api.settings import ApiSettings


@pytest.fixture
async def session(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    for name in ("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL", "RUNPOD_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def api(session: Session) -> AsyncIterator[Served]:
    """With both secrets of webhooks, as in a rotation."""
    settings = ApiSettings(port=0, webhook_secrets=(SECRET, OLD_SECRET), base_model="tiny")
    async with served(session, settings) as running:
        yield running
