"""The rig as fixtures; `tests/conftest.py` makes them known everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def supabase_rig() -> Iterator[object]:
    """One for all tests of a run; take `fresh_supabase` unless what stands in it is no matter."""
    # Imported only where a test asks for it: the rig brings asyncpg and the product's own modules.
    from tests.fakes.supabase.rig import SupabaseRig, missing

    if reason := missing():
        pytest.skip(reason)
    rig = SupabaseRig()
    try:
        rig.start_all()
        yield rig
    finally:
        rig.remove()


@pytest.fixture
def fresh_supabase(supabase_rig: object) -> object:
    """The rig with empty tables, no faults and every server running."""
    supabase_rig.fresh()  # type: ignore[attr-defined]
    return supabase_rig
