"""A training file split as a job would, and both sides written to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.convert import Form
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.similarity import content_hash
from shared.dataset.split import Stratum, split
from shared.errors import InvalidDataset, InvalidInput
from shared.hyperparameters import Hyperparameters
from tests.shared.dataset.documents import document, file_pairs, jsonl
from tests.shared.dataset.test_similarity import long_texts
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.file_split import FileSplit, KeptTogether, Share, split_file, write_split
from tui.services.training_plan import plan_training

DEFAULTS = Hyperparameters()


def split_of(path: Path, fraction: float = 0.1) -> FileSplit:
    return split_file(path, fraction, DEFAULTS.seed)


def pairs_of(number: int) -> list[dict[str, Any]]:
    return file_pairs(f"Question {number}", f"Answer {number}.")


@pytest.fixture
def twelve(tmp_path: Path) -> Path:
    path = tmp_path / "twelve.json"
    path.write_text(json.dumps(document(**{f"c{n}": pairs_of(n) for n in range(12)})))
    return path


def test_it_shows_what_the_trainer_and_the_plan_take() -> None:
    shown = split_of(SAMPLE_JSON)
    _, held_out = split(read_dataset(SAMPLE_JSON).conversations, 0.1, DEFAULTS.seed)
    assert shown.held_out_ids == {item.conversation_id for item in held_out}
    outline = check_training_file(SAMPLE_JSON, CheckSettings("tiny"), None).outline
    assert outline is not None
    plan = plan_training(outline, DEFAULTS)
    assert (plan.train_conversations, plan.held_out_conversations, plan.targets) == (
        shown.total.train_conversations,
        shown.total.held_out_conversations,
        shown.total.train_targets,
    )


def test_the_strata_add_up_to_the_file(twelve: Path) -> None:
    shown = split_of(SAMPLE_JSON)
    assert len(shown.strata) > 10
    for name in Share.__dataclass_fields__:
        parts = [getattr(share, name) for share in shown.strata.values()]
        assert sum(parts) == getattr(shown.total, name)
    assert split_of(twelve).strata == {Stratum("", ""): Share(8, 8, 4, 4)}


def test_a_cut_target_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(jsonl(a=file_pairs("Hi", "Hello.", "And?", "Cut in the mid\\")))
    assert split_of(path).total == Share(1, 1, 0, 0)


def test_what_was_kept_together_is_told_with_the_reason(tmp_path: Path) -> None:
    texts = long_texts(1)
    talks = {
        "one": file_pairs(*texts),
        "near": file_pairs(*texts[:-1], texts[-1].replace(" ", " and ", 1)),
        "same": pairs_of(1),
        "other": pairs_of(2),
        "again": pairs_of(1),
    }
    entries = document(**talks)["conversations"]
    other_with_its_id = document(other=pairs_of(3))["conversations"]
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"conversations": [*entries, *other_with_its_id]}))
    shown = split_of(path)
    assert shown.kept_together == (
        KeptTogether(("one", "near"), "nearly the same texts", "one" in shown.held_out_ids),
        KeptTogether(("same", "again"), "same texts", "same" in shown.held_out_ids),
        KeptTogether(("other",), "same id", "other" in shown.held_out_ids),
    )
    assert (shown.total.held_out_conversations, shown.held_out_units) == (2, 1)


def test_a_file_that_the_trainer_cannot_read_is_not_split(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(jsonl(a=pairs_of(1)) + "\n{")
    with pytest.raises(InvalidDataset, match="line 3"):
        split_of(path)


# --- written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [None, Form.BRIGHTRUN_JSONL, Form.OPENAI])
def test_both_files_hold_each_conversation_once(
    twelve: Path, tmp_path: Path, form: Form | None
) -> None:
    written = write_split(split_of(twelve), tmp_path / "new" / "folder", form)
    assert written.form == (form or Form.BRIGHTRUN_JSON)
    assert written.train.name == f"twelve-train{written.form.suffix}"
    conversations = read_dataset(twelve).conversations
    sides = split(conversations, 0.1, DEFAULTS.seed)
    for path, expected in zip((written.train, written.held_out), sides, strict=True):
        found = [content_hash(item) for item in read_dataset(path).conversations]
        assert found == [content_hash(item) for item in expected]


@pytest.mark.parametrize("side", ["train", "held-out"])
def test_nothing_is_written_where_one_of_the_files_is_there(
    twelve: Path, tmp_path: Path, side: str
) -> None:
    there = tmp_path / f"twelve-{side}.json"
    there.write_text("mine")
    with pytest.raises(InvalidInput, match="is there already"):
        write_split(split_of(twelve), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([there, twelve])
    assert there.read_text() == "mine"


def test_one_side_is_not_left_alone(twelve: Path, tmp_path: Path) -> None:
    """The held-out conversation turns out to be broken once the first file is written."""
    shown = split_of(twelve)
    out = tmp_path / "out"
    broken = json.loads(twelve.read_text())
    for entry in broken["conversations"]:
        if entry["conversation_metadata"]["conversation_id"] in shown.held_out_ids:
            entry["training_pairs"][1]["conversation_history"] = 7
    twelve.write_text(json.dumps(broken))
    with pytest.raises(InvalidDataset):
        write_split(shown, out)
    assert list(out.iterdir()) == []


def test_without_held_out_conversations_nothing_is_written(twelve: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="nothing is held out"):
        write_split(split_of(twelve, 0), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_a_file_is_refused(twelve: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be made"):
        write_split(split_of(twelve), twelve)
