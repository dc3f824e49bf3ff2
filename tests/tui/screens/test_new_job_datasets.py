"""The training file of a new job: taken from those that are known, looked at, blocked by errors."""

from __future__ import annotations

import json
from pathlib import Path

from tests.shared.dataset.documents import document, file_pair, file_pairs
from tests.tui.screens.new_job_form import open_form
from tui.screens.dataset_preview import DatasetPreviewScreen
from tui.screens.datasets import DatasetsScreen
from tui.screens.new_job import NewJobScreen
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.dataset_registry import record_check


async def test_a_known_file_is_taken_and_its_errors_are_looked_at_one_by_one(
    home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "faulty.json"
    fine, blank = file_pairs("Hi", "Hello."), [file_pair(1, "What now?", target=" ")]
    path.write_text(json.dumps(document(fine=fine, other=fine, blank=blank)))
    async with open_form() as form:
        before = check_training_file(path, CheckSettings("tiny"), None)
        await record_check(form.session.store, before)
        path.write_text(json.dumps(document(fine=fine, blank=blank)))

        await form.press("ctrl+o")
        await form.until_on(DatasetsScreen)
        await form.until_seen("faulty.json", "Enter takes the file")
        await form.press("n", "enter")  # n does nothing here.
        await form.until_on(NewJobScreen)
        await form.until(lambda: form.draft.dataset == str(path))
        await form.until_seen("the training file has 1 error: F3", "has changed since it")
        await form.until_seen("conversations 3")

        await form.press("f3", "enter")
        await form.until_on(DatasetPreviewScreen)
        await form.until_seen("What now?")
        await form.press("escape")
        await form.until_on(NewJobScreen)


async def test_leaving_the_list_without_a_choice_keeps_what_was_typed(home: Path) -> None:
    async with open_form(size=(80, 24)) as form:
        await form.paste("dataset", "/data/kept.json")
        await form.press("ctrl+o")
        await form.until_on(DatasetsScreen)
        await form.press("escape")
        await form.until_on(NewJobScreen)
        assert form.draft.dataset == "/data/kept.json"
