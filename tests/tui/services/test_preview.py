"""A look into a training file while a job is typed, and the last look before its start."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidBaseModel, InvalidDataset, InvalidHyperparameter
from shared.hyperparameters import Hyperparameters
from shared.job_spec import DatasetReference
from tests.shared.dataset.documents import document, file_pairs
from tui.services import preview as preview_module
from tui.services.dataset_check import check_training_file
from tui.services.preview import Previewer, Wanted

VALUES: dict[str, Any] = {"name": "A job", "base_model": "tiny"}


def write(path: Path, *names: str) -> Path:
    talks = {name: file_pairs("Hi", f"Hello, {name}.") for name in names}
    path.write_text(json.dumps(document(**talks)))
    return path


def wanted(dataset: Path | str, **values: Any) -> Wanted:
    return replace(Wanted(str(dataset), "tiny", 4096, Hyperparameters()), **values)


@pytest.fixture
async def previewer(home: Path) -> AsyncIterator[Previewer]:
    made = Previewer()
    yield made
    made.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path that is read."""
    seen: list[Path] = []

    def count(path: Path, *settings: Any) -> Any:
        seen.append(path)
        return check_training_file(path, *settings)

    monkeypatch.setattr(preview_module, "check_training_file", count)
    return seen


async def test_it_counts_what_would_be_trained(previewer: Previewer, tmp_path: Path) -> None:
    found = await previewer.preview(wanted(write(tmp_path / "t.json", "a", "b", "c")))

    assert found.report is not None
    assert found.plan is not None
    assert (found.report.conversations, found.report.targets) == (3, 3)
    assert (found.plan.train_conversations, found.plan.held_out_conversations) == (2, 1)
    assert found.plan.total_steps == 3


async def test_a_file_is_read_again_only_when_it_has_changed(
    previewer: Previewer, tmp_path: Path, reads: list[Path]
) -> None:
    path = write(tmp_path / "t.json", "a", "b")
    await previewer.preview(wanted(path))
    epochs = Hyperparameters.from_values({"num_epochs": 5})
    found = await previewer.preview(wanted(path, hyperparameters=epochs))
    assert (len(reads), found.plan.total_steps if found.plan else None) == (1, 5)

    write(path, "a", "b", "c")
    found = await previewer.preview(wanted(path))
    assert (len(reads), found.report.conversations if found.report else None) == (2, 3)


async def test_a_look_that_nobody_waits_for_is_dropped(
    previewer: Previewer, tmp_path: Path, reads: list[Path]
) -> None:
    paths = [write(tmp_path / f"{number}.json", "a") for number in range(20)]
    looks = [asyncio.ensure_future(previewer.preview(wanted(path))) for path in paths]
    await asyncio.sleep(0)
    for look in looks[:-1]:
        look.cancel()

    assert (await looks[-1]).report is not None
    assert len(reads) < len(paths)


async def test_a_look_under_way_that_nobody_waits_for_stops_reading(
    previewer: Previewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, cancelled = asyncio.Event(), threading.Event()
    loop, done = asyncio.get_running_loop(), []

    def read_slowly(path: Path, settings: Any, encoder: Any, on_progress: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        cancelled.wait(20)
        on_progress(1, 2)
        done.append(path)

    path = write(tmp_path / "t.json", "a")
    with monkeypatch.context() as patch:
        patch.setattr(preview_module, "check_training_file", read_slowly)
        look = asyncio.ensure_future(previewer.preview(wanted(path)))
        await begun.wait()
        look.cancel()
        await asyncio.sleep(0)
        cancelled.set()
        await asyncio.wait([look])

    found = await previewer.preview(wanted(path))
    assert (done, found.report is not None) == ([], True)


@pytest.mark.parametrize("typed", ["", "  "])
async def test_without_a_file_there_is_nothing_to_count(previewer: Previewer, typed: str) -> None:
    found = await previewer.preview(wanted(typed))

    assert (found.report, found.plan, found.dataset_problem) == (None, None, "")


async def test_settings_that_cannot_be_counted_with_leave_gaps(
    previewer: Previewer, tmp_path: Path
) -> None:
    path = write(tmp_path / "t.json", "a")

    without_steps = await previewer.preview(wanted(path, hyperparameters=None))
    assert without_steps.report is not None
    assert without_steps.plan is None
    without_length = await previewer.preview(wanted(path, max_seq_length=None))
    assert without_length.report is None


async def test_files_that_cannot_be_read_are_a_problem_to_show(
    previewer: Previewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large.json").write_text("{}  ")
    monkeypatch.setattr(preview_module, "_LARGEST_FILE_BYTES", 3)
    problems: dict[Path | str, str] = {
        tmp_path: "is a directory",
        tmp_path / "none.json": "cannot be read (No such file",
        tmp_path / "pipe": "is not a regular file",
        tmp_path / "large.json": "has 4 B",
        tmp_path / ("x" * 300): "cannot be read (File name too long)",
        tmp_path / "nul\0": "no file can be read by this name",
        tmp_path / "surrogate\udcff": "no file can be read by this name",
        "~nobody-of-that-name/x": "~nobody-of-that-name/x: ",
    }

    for path, problem in problems.items():
        assert (await previewer.preview(wanted(path))).dataset_problem.startswith(problem)


async def test_a_home_directory_may_be_a_tilde(
    previewer: Previewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "t.json", "a")

    assert (await previewer.prepare("~/t.json", VALUES)).path == tmp_path / "t.json"


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("tiny", ""),
        ("some-org/some-model", ""),
        ("~nobody-of-that-name/model", "there is no such directory."),
        ("/no/such/model", "there is no such directory."),
    ],
)
async def test_a_base_model_that_is_spelled_like_a_directory_has_to_be_one(
    previewer: Previewer, typed: str, problem: str
) -> None:
    found = await previewer.preview(wanted("", base_model=typed))

    assert found.base_model_problem == problem


async def test_a_damaged_tokenizer_is_a_problem_to_show(
    previewer: Previewer, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text("{")

    found = await previewer.preview(wanted("", base_model=f" {tmp_path} "))

    assert found.base_model == str(tmp_path)
    assert found.base_model_problem.startswith("its tokenizer cannot be read")
    found = await previewer.preview(wanted("", base_model="x" * 5000))
    assert "File name too long" in found.base_model_problem


async def test_a_prepared_job_names_the_bytes_that_were_checked(
    previewer: Previewer, tmp_path: Path
) -> None:
    path = write(tmp_path / "t.json", "a", "b")
    before = path.stat()
    await previewer.preview(wanted(path))
    path.write_text(path.read_text().replace("Hello", "Hallo"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    prepared = await previewer.prepare(str(path), VALUES)

    assert prepared.spec.dataset == DatasetReference.of(path)
    assert prepared.spec.name == "A job"
    assert (prepared.report.conversations, prepared.plan.total_steps) == (2, 3)


async def test_a_file_that_changes_under_the_last_look_is_not_prepared(
    previewer: Previewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t.json", "a")

    def change(path: Path, *settings: Any) -> Any:
        write(path, "a", "b")
        return check_training_file(path, *settings)

    monkeypatch.setattr(preview_module, "check_training_file", change)
    with pytest.raises(InvalidDataset, match="changed while it was read"):
        await previewer.prepare(str(path), VALUES)


async def test_what_cannot_be_started_is_not_prepared(previewer: Previewer, tmp_path: Path) -> None:
    path = str(write(tmp_path / "t.json", "a"))

    with pytest.raises(InvalidDataset):
        await previewer.prepare(str(tmp_path), VALUES)
    with pytest.raises(InvalidBaseModel):
        await previewer.prepare(path, {**VALUES, "base_model": "./none"})
    with pytest.raises(InvalidHyperparameter):
        await previewer.prepare(path, {**VALUES, "hyperparameters": {"lora_r": "0"}})


async def test_a_directory_of_another_host_is_neither_looked_for_nor_counted_with_here(
    previewer: Previewer, tmp_path: Path
) -> None:
    path = write(tmp_path / "t.json", "a")
    (tmp_path / "tokenizer.json").write_text("{")  # Here it would be a problem.

    seen = await previewer.preview(wanted(path, base_model=str(tmp_path), host="ssh:box"))
    assert (seen.base_model, seen.base_model_problem) == (str(tmp_path), "")
    assert seen.report is not None
    assert seen.report.tokens_are_estimated
    values = {**VALUES, "base_model": "/only/there"}
    prepared = await previewer.prepare(str(path), values, "ssh:box")
    assert prepared.spec.base_model == "/only/there"


@pytest.mark.parametrize("typed", ["~/llama", "./llama", "../llama"])
async def test_a_directory_of_another_host_needs_its_absolute_path(
    previewer: Previewer, typed: str
) -> None:
    seen = await previewer.preview(wanted("", base_model=typed, host="ssh:box"))

    assert seen.base_model_problem.endswith(
        "write the absolute path that the directory has on ssh:box."
    )
