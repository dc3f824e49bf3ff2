from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.upload.ledger import BegunUpload, FileLedger

BEGUN = BegunUpload("jobs/x/a.bin", "https://project/upload/1", 12, "ab" * 32)


async def test_another_process_finds_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "uploads.json"
    await FileLedger(path).keep(BEGUN)
    await FileLedger(path).keep(replace(BEGUN, object_name="other"))
    await FileLedger(path).keep(replace(BEGUN, is_complete=True))
    found = await FileLedger(path).all()
    assert [(each.object_name, each.is_complete) for each in found] == [
        ("jobs/x/a.bin", True),
        ("other", False),
    ]


async def test_what_is_forgotten_is_begun_again(tmp_path: Path) -> None:
    ledger = FileLedger(tmp_path / "uploads.json")
    await ledger.forget("never known")
    await ledger.keep(BEGUN)
    await ledger.forget(BEGUN.object_name)
    assert await ledger.find(BEGUN.object_name) is None


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"object_name": "x"}]', '{"a": 1}'])
async def test_a_damaged_ledger_costs_no_more_than_a_new_upload(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "uploads.json"
    path.write_text(content)
    assert await FileLedger(path).all() == []
    await FileLedger(path).keep(BEGUN)
    assert await FileLedger(path).find(BEGUN.object_name) == BEGUN
