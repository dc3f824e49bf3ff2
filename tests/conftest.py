"""Fixtures that tests all over the tree share."""

from __future__ import annotations

import os

import pytest

from tests.fakes.supabase.fixtures import fresh_supabase, supabase_rig

__all__ = ["fresh_supabase", "supabase_rig"]


@pytest.fixture(autouse=True)
def _no_project_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that happens to be set up on this machine is nobody's in a test."""
    for name in os.environ:
        if name.startswith(("SUPABASE_", "NEXT_PUBLIC_SUPABASE_", "BRIGHTRUN_SUPABASE_")):
            monkeypatch.delenv(name)
