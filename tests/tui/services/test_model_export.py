from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.store.store import Store
from tests.tui.versions import add_completed
from tui.config import load_config
from tui.services.model_comparison import ComparedVersion, compare_versions
from tui.services.model_export import COLUMNS, write_metrics
from tui.services.models import find_version
from tui.services.session import open_session


async def compared(store: Store) -> list[ComparedVersion]:
    for number in (1, 2):
        await add_completed(store, f"job-{number}", steps=20)
    async with open_session(load_config()) as session:
        versions = [await find_version(session, f"empathy:{number}") for number in (1, 2)]
        return await compare_versions(session, versions)


async def test_each_step_of_each_version_is_a_row(store: Store, tmp_path: Path) -> None:
    found = await compared(store)

    assert write_metrics(tmp_path / "a.csv", found) == 42

    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["version"], row["step"]) for row in rows] == [
        (version, str(step)) for version in ("1", "2") for step in range(21)
    ]
    assert rows[0]["loss"] == "" and rows[0]["eval_loss"] == "2.1321"
    assert float(rows[20]["loss"]) == found[0].points[20].loss
    assert rows[20]["time"].endswith("+00:00")
    write_metrics(tmp_path / "a.JSON", found)
    assert json.loads((tmp_path / "a.JSON").read_text())[0]["loss"] is None


async def test_nothing_is_overwritten_and_other_endings_are_refused(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine")
    with pytest.raises(InvalidInput, match="is there already"):
        write_metrics(path, [])
    with pytest.raises(InvalidInput, match=r"neither \.csv nor \.json"):
        write_metrics(tmp_path / "a.xlsx", [])
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_metrics(tmp_path / "nowhere" / "a.csv", [])
    assert path.read_text() == "mine" and list(tmp_path.glob("*.part")) == []


async def test_two_to_four_different_versions_are_compared(store: Store) -> None:
    found = await compared(store)
    versions = [each.version for each in found]
    async with open_session(load_config()) as session:
        for some in ([], versions[:1], versions[:1] * 3):
            with pytest.raises(InvalidInput, match="2 to 4"):
                await compare_versions(session, some)
        assert len(await compare_versions(session, versions[:1], least=1)) == 1
