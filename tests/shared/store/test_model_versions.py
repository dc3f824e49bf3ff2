from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.model_version import ModelVersion, VersionFacts
from shared.store.model_versions import Change, NewVersion
from shared.store.store import Store, open_store

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STORED, TESTING = DeploymentStatus.STORED, DeploymentStatus.TESTING
PRODUCTION, ARCHIVED = DeploymentStatus.PRODUCTION, DeploymentStatus.ARCHIVED
ELENA = Change("elena", "it answers better")
SAM = Change("sam", "it is too long")
FACTS = VersionFacts(job_name="Empathy", loss=1.25, settings={"lora_r": "16"}, cost_usd=4.2)


async def add(store: Store, number: int, name: str = "empathy") -> ModelVersion:
    new = NewVersion(
        f"id-{number}", name, f"job-{number}", 1, "a" * 64, FACTS, NOW + timedelta(hours=number)
    )
    version, is_new = await store.models.add(new)
    assert is_new
    return version


async def statuses(store: Store) -> dict[str, str]:
    return {each.reference: each.status.value for each in await store.models.all()}


async def test_versions_are_numbered_by_model_and_come_back_as_they_were(store: Store) -> None:
    first, other, second = await add(store, 1), await add(store, 2, "other"), await add(store, 3)

    assert [first.reference, other.reference, second.reference] == [
        "empathy:1",
        "other:1",
        "empathy:2",
    ]
    assert await store.models.all() == [second, first, other]
    assert await store.models.get("id-1") == first
    assert first.facts == FACTS and first.status is STORED


async def test_the_same_version_is_made_once_whoever_sees_the_job_end(store: Store) -> None:
    first = await add(store, 1)
    again = NewVersion("id-1", "another-name", "job-1", 1, "b" * 64, VersionFacts(), NOW)

    assert await store.models.add(again) == (first, False)
    assert await statuses(store) == {"empathy:1": "stored"}


async def test_a_version_is_found_by_its_number_and_the_newest_kept_one_by_its_model(
    store: Store,
) -> None:
    first, second = await add(store, 1), await add(store, 2)
    await store.models.delete(second, ELENA)

    assert (await store.models.find("empathy")).reference == first.reference
    assert (await store.models.find("empathy", 2)).is_deleted
    with pytest.raises(InvalidInput, match="empathy:7: it has 2, 1"):
        await store.models.find("empathy", 7)
    with pytest.raises(InvalidInput, match="there is no such model"):
        await store.models.find("nothing")


async def test_each_change_says_who_when_and_why(store: Store) -> None:
    version = await add(store, 1)
    version = await store.models.move(version, TESTING, ELENA)
    version = await store.models.move(version, ARCHIVED, SAM)

    history = await store.models.history([version.version_id])

    assert [(each.from_status, each.to_status, each.who, each.why) for each in history] == [
        ("stored", "testing", "elena", "it answers better"),
        ("testing", "archived", "sam", "it is too long"),
    ]
    assert history[0].time <= history[1].time
    assert await store.models.history(["other"]) == []


async def test_of_two_who_change_what_they_saw_the_second_is_told(store: Store) -> None:
    seen = await add(store, 1)
    await store.models.move(seen, TESTING, ELENA)

    with pytest.raises(InvalidInput, match="was stored and is testing"):
        await store.models.move(seen, ARCHIVED, SAM)
    with pytest.raises(InvalidInput, match="was changed by somebody else"):
        await store.models.delete(seen, SAM)
    with pytest.raises(InvalidInput, match="was changed by somebody else"):
        await store.models.rename(seen, "other", SAM)

    assert len(await store.models.history()) == 1
    assert await statuses(store) == {"empathy:1": "testing"}


async def test_a_deleted_version_stays_in_the_list_and_never_moves_again(store: Store) -> None:
    seen = await add(store, 1)
    deleted = await store.models.delete(seen, ELENA)

    assert deleted.is_deleted and deleted.status is ARCHIVED
    assert [each.to_status for each in await store.models.history()] == ["deleted"]
    for attempt in (deleted, seen):
        with pytest.raises(InvalidInput, match="is deleted"):
            await store.models.move(attempt, STORED, SAM)
    assert [each.facts for each in await store.models.all()] == [FACTS]


async def test_one_version_of_a_model_is_in_production(store: Store) -> None:
    first = await store.models.move(await add(store, 1), TESTING, ELENA)
    second = await store.models.move(await add(store, 2), TESTING, ELENA)
    other = await store.models.move(await add(store, 3, "other"), TESTING, ELENA)

    await store.models.move(first, PRODUCTION, ELENA)
    await store.models.move(other, PRODUCTION, ELENA)
    await store.models.move(second, PRODUCTION, SAM)

    assert await statuses(store) == {
        "empathy:2": "production",
        "empathy:1": "archived",
        "other:1": "production",
    }
    last = (await store.models.history([first.version_id]))[-1]
    assert (last.who, last.why) == ("sam", "empathy:2 took its place: it is too long")


async def test_a_number_that_was_given_is_never_given_again(store: Store) -> None:
    await add(store, 1)
    second = await add(store, 2)
    moved = await store.models.rename(second, "other", ELENA)
    assert (moved.reference, moved.version_id) == ("other:1", second.version_id)

    assert (await add(store, 3)).reference == "empathy:3"
    assert (await store.models.rename(moved, "empathy", ELENA)).reference == "empathy:4"
    assert [each.why for each in await store.models.history([second.version_id])] == [
        "was empathy:2: it answers better",
        "was other:1: it answers better",
    ]


async def test_many_who_make_versions_at_once_get_a_number_each(database: Path) -> None:
    async with open_store(database) as one, open_store(database) as two:
        await asyncio.gather(*(add((one, two)[number % 2], number) for number in range(20)))
        assert sorted(each.version for each in await one.models.all()) == list(range(1, 21))


_PROMOTER = """
import asyncio, json, sys
from pathlib import Path
from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.store.model_versions import Change
from shared.store.store import open_store

async def main(path, version_id, who):
    async with open_store(Path(path)) as store:
        seen = await store.models.get(version_id)
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            await store.models.move(seen, DeploymentStatus.PRODUCTION, Change(who, "race"))
        except InvalidInput as error:
            print(json.dumps(str(error)))
        else:
            print(json.dumps("moved"))

asyncio.run(main(*sys.argv[1:]))
"""


async def raced(database: Path, version_ids: list[str]) -> list[str]:
    """What each of two processes was told that act at the same moment."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROMOTER, str(database), version_id, f"process {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, version_id in enumerate(version_ids)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [(await asyncio.to_thread(process.communicate))[0] for process in processes]
    return [json.loads(each) for each in told]


async def test_of_two_promoters_of_one_version_one_wins_and_the_other_is_told(
    database: Path,
) -> None:
    async with open_store(database) as store:
        version = await store.models.move(await add(store, 1), TESTING, ELENA)
        told = await raced(database, [version.version_id] * 2)

        assert sorted(each == "moved" for each in told) == [False, True]
        assert any("was testing and is production" in each for each in told)
        assert len(await store.models.history([version.version_id])) == 2


async def test_two_promoters_of_two_versions_leave_one_in_production(database: Path) -> None:
    async with open_store(database) as store:
        ids = []
        for number in (1, 2):
            version = await store.models.move(await add(store, number), TESTING, ELENA)
            ids.append(version.version_id)

        assert await raced(database, ids) == ["moved", "moved"]

        assert sorted((await statuses(store)).values()) == ["archived", "production"]
