"""Workers that send outward: in one process at a time, and each for itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest

from shared.errors import InvalidInput, SupabaseUnreachable
from shared.store.rentals import OUTWARD_LEASE
from tui.config import Config
from tui.services.background import WORKERS, Background, BackgroundSettings
from tui.services.session import Session, open_session

QUICK = BackgroundSettings(lease_s=1.0, tick_s=0.05, first_pause_s=0.02, longest_pause_s=0.05)
Work = Callable[[], Awaitable[None]]


@pytest.fixture
async def session(home: Path) -> AsyncIterator[Session]:
    async with open_session(Config(home, home / "agent")) as opened:
        yield opened


def worker(work: Work, *, is_wanted: Callable[[], bool] = lambda: True) -> ModuleType:
    module = ModuleType("made_up_worker")

    async def run(session: Session, say: Callable[[str], None]) -> None:
        await work()

    vars(module).update(is_wanted=lambda session: is_wanted(), run=run)
    return module


@asynccontextmanager
async def at_work(
    session: Session, *workers: ModuleType, say: Callable[[str], None] = lambda text: None
) -> AsyncIterator[asyncio.Task[None]]:
    background = Background(session, "test", say=say, settings=QUICK, workers=workers)
    running = asyncio.create_task(background.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("name", WORKERS)
def test_every_worker_has_what_is_asked_of_it(name: str) -> None:
    module = __import__(name, fromlist=["run"])
    assert callable(module.is_wanted)
    assert asyncio.iscoroutinefunction(module.run)


async def test_only_one_of_two_works_and_the_other_takes_over_when_it_leaves(
    session: Session,
) -> None:
    at = []

    def named(name: str) -> ModuleType:
        async def work() -> None:
            at.append(name)
            try:
                await for_ever()
            finally:
                at.remove(name)

        return worker(work)

    async with at_work(session, named("first")) as first:
        await until(lambda: at == ["first"])
        async with at_work(session, named("second")):
            await asyncio.sleep(0.3)
            assert at == ["first"]
            first.cancel()
            await until(lambda: at == ["second"])


async def test_a_process_that_is_killed_is_followed_by_another_once_its_lease_is_over(
    session: Session, home: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LEADS_AND_STAYS, str(home)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout is not None
    began: list[bool] = []

    async def work() -> None:
        began.append(True)
        await for_ever()

    try:
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"works\n"
        async with at_work(session, worker(work)):
            await asyncio.sleep(0.2)
            assert began == []
            process.kill()
            await process.wait()
            await until(lambda: began)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


_LEADS_AND_STAYS = """
import asyncio, sys
from pathlib import Path
from tests.tui.services.test_background import QUICK, for_ever, worker
from tui.config import Config
from tui.services.background import Background
from tui.services.session import open_session

async def work():
    print("works", flush=True)
    await for_ever()

async def main():
    home = Path(sys.argv[1])
    async with open_session(Config(home, home / "agent")) as session:
        await Background(session, "test", settings=QUICK, workers=[worker(work)]).run()

asyncio.run(main())
"""


@pytest.mark.parametrize("error", [SupabaseUnreachable("away"), ZeroDivisionError()])
async def test_one_that_fails_is_started_again_and_does_not_stop_the_others(
    session: Session, error: Exception
) -> None:
    tries: list[int] = []
    others: list[bool] = []

    async def fails() -> None:
        tries.append(1)
        raise error

    async def works() -> None:
        others.append(True)
        await for_ever()

    async with at_work(session, worker(fails), worker(works)):
        await until(lambda: len(tries) >= 3)
    assert others == [True]


async def test_one_that_has_nothing_more_to_do_is_not_started_again(session: Session) -> None:
    began: list[int] = []

    async def work() -> None:
        began.append(1)

    async with at_work(session, worker(work)):
        await until(lambda: began)
        await asyncio.sleep(0.2)
    assert began == [1]


async def test_nothing_wanted_takes_no_lease(session: Session) -> None:
    async with at_work(session, worker(for_ever, is_wanted=lambda: False)) as running:
        await until(running.done)
    assert await session.store.rentals.lease(OUTWARD_LEASE) is None


async def test_settings_that_do_not_hold_together_are_said_once(session: Session) -> None:
    said: list[str] = []

    def broken() -> bool:
        raise InvalidInput("SUPABASE_URL: is no URL.")

    async with at_work(session, worker(for_ever, is_wanted=broken), say=said.append) as running:
        await until(running.done)
    assert said == ["SUPABASE_URL: is no URL."]


async def test_one_that_answers_its_end_with_an_error_ends_all_the_same(session: Session) -> None:
    began: list[bool] = []

    async def work() -> None:
        began.append(True)
        try:
            await for_ever()
        except asyncio.CancelledError as error:
            raise SupabaseUnreachable("cut off") from error

    async with at_work(session, worker(work)) as running:
        await until(lambda: began)
        running.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([running])
    lease = await session.store.rentals.lease(OUTWARD_LEASE)
    assert lease is not None
