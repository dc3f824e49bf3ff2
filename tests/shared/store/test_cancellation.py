"""A task that is cancelled in the middle of a transaction leaves neither harm nor threads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.job_state import fold
from shared.store.store import Store, open_store
from tests.shared.store.journal import completed_job, job_spec


@pytest.mark.parametrize("turns", range(0, 24, 3))
async def test_a_cancelled_write_is_whole_and_the_store_goes_on(store: Store, turns: int) -> None:
    await store.add_job(job_spec(), "local")
    records = completed_job()
    writing = asyncio.create_task(store.apply_records("job-one", records))
    for _ in range(turns):
        await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    kept = await store.events("job-one")
    assert kept in ([], records)
    assert (await store.get_job("job-one")).state == fold(kept)
    await store.apply_records("job-one", records)
    assert await store.events("job-one") == records


async def test_a_store_is_closed_only_after_its_transactions(tmp_path: Path) -> None:
    async def read_on(store: Store) -> None:
        while True:
            await store.list_jobs()

    async with open_store(tmp_path / "brightrun.db") as store:
        readers = [asyncio.create_task(read_on(store)) for _ in range(5)]
        await asyncio.sleep(0.05)
        for reader in readers:
            reader.cancel()
    assert not store.transactions
    await asyncio.gather(*readers, return_exceptions=True)
    assert not [task for task in asyncio.all_tasks() if "graceful_close" in repr(task)]
