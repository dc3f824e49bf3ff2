"""Whether Supabase would take an adapter, said before it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.hyperparameters import Hyperparameters
from tests.fakes.supabase.rig import SupabaseRig
from tests.shared.llama_70b import LLAMA_70B
from tests.shared.store.journal import job_spec
from tui.config import Config
from tui.services.artifact_uploads.size_limits import adapter_bytes, upload_warning


@pytest.fixture
def rig(fresh_supabase: SupabaseRig, home: Path, monkeypatch: pytest.MonkeyPatch) -> SupabaseRig:
    for name, value in fresh_supabase.environment().items():
        monkeypatch.setenv(name, value)
    return fresh_supabase


def test_the_adapter_of_70b_with_rank_16_is_what_was_measured() -> None:
    spec = job_spec(hyperparameters=Hyperparameters(lora_r=16))
    assert adapter_bytes(spec, LLAMA_70B) == 2 * 207_093_760
    assert adapter_bytes(spec, None) is None


async def test_an_adapter_above_the_limit_of_the_bucket_is_told_before(
    rig: SupabaseRig, home: Path
) -> None:
    config = Config(home, home / "agent")
    assert await upload_warning(config, 414_000_000) == ""
    rig.execute(
        "update storage.buckets set file_size_limit = 50000000 where id = 'model-artifacts'"
    )
    warning = await upload_warning(config, 414_000_000)
    assert "about 414.0 MB" in warning and "50.0 MB at most" in warning
    assert await upload_warning(config, 49_000_000) == ""


async def test_nothing_is_said_where_nobody_answers_or_no_project_is_named(
    rig: SupabaseRig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(home, home / "agent")
    rig.execute("update storage.buckets set file_size_limit = 1 where id = 'model-artifacts'")
    rig.stop("gateway")
    try:
        assert await upload_warning(config, 1000) == ""
    finally:
        rig.start("gateway")
    assert await upload_warning(config, 1000) != ""
    monkeypatch.delenv("SUPABASE_URL")
    assert await upload_warning(config, 1000) == ""
