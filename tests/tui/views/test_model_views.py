from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.deployment import DeploymentStatus
from shared.model_version import DeploymentChange, ModelVersion, VersionFacts
from shared.store.stored import MetricsPoint
from tests.tui.hostile import HOSTILE
from tui.services.model_comparison import ComparedVersion, differing
from tui.services.model_files import Removal
from tui.views.model_comparison import (
    SAME_SETTINGS,
    comparison_csv,
    comparison_dicts,
    comparison_text,
)
from tui.views.model_details import change_words, detail_pairs, detail_text
from tui.views.model_rows import (
    HEADERS,
    chosen,
    count_words,
    grouped,
    model_rows,
    removal_lines,
    uploaded_words,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NONE: frozenset[str] = frozenset()


def version(name: str = "empathy", number: int = 1, **facts: object) -> ModelVersion:
    values: dict[str, object] = {
        "job_name": "Empathy, v4",
        "base_model": "tiny",
        "dataset_name": "EQ-12.json",
        "settings": {"lora_r": "16", "seed": "42"},
        "loss": 1.23456,
        "eval_loss": 1.3,
        "perplexity": 3.669,
        "hours": 1.5,
        "cost_usd": 4.2,
        "size_bytes": 414_200_000,
        **facts,
    }
    return ModelVersion(
        f"{name}-{number}",
        name,
        number,
        f"job-{name}-{number}",
        1,
        "a" * 64,
        DeploymentStatus.STORED,
        VersionFacts.model_validate(values),
        NOW + timedelta(hours=number),
    )


def test_models_come_with_the_newest_version_first_and_so_do_their_versions() -> None:
    old, new, other = version(number=1), version(number=3), version("other", 2)
    assert grouped([old, other, new]) == [new, old, other]
    assert grouped([]) == []


def test_a_row_has_losses_with_four_decimals_and_a_perplexity_with_two() -> None:
    (row,) = model_rows([version()], {"job-empathy-1": frozenset({"verified"})})
    assert dict(zip(HEADERS, row.cells, strict=True)) == {
        "MODEL": "empathy:1",
        "STATUS": "stored",
        "JOB": "job-empathy-1",
        "BASE MODEL": "tiny",
        "LOSS": "1.2346",
        "HELD OUT": "1.3000",
        "PPL": "3.67",
        "HOURS": "1.50",
        "COST": "$4.20",
        "SIZE": "414.2 MB",
        "UPLOADED": "yes",
    }


def test_what_is_not_known_is_a_dash() -> None:
    bare = replace(version(), facts=VersionFacts())
    (row,) = model_rows([bare], {})
    assert row.cells[3:9] == ["–"] * 6 and row.uploaded == "–"


def test_a_models_name_stands_in_its_first_row_only() -> None:
    rows = model_rows([version(number=2), version(number=1), version("other")], {})
    assert [row.model_name for row in rows] == ["empathy", "", "other"]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((), "–"),
        (("verified",), "yes"),
        (("verified", "waiting"), "on its way"),
        (("uploaded",), "on its way"),
        (("verified", "refused"), "refused"),
    ],
)
def test_the_worst_upload_speaks(states: tuple[str, ...], words: str) -> None:
    assert uploaded_words(frozenset(states)) == words


def test_a_deleted_version_is_only_where_it_is_asked_for() -> None:
    kept = version(number=1)
    deleted = replace(version(number=2), status=DeploymentStatus.ARCHIVED, deleted_at=NOW)
    assert chosen([kept, deleted], "kept") == [kept]
    assert chosen([kept, deleted], "deleted") == [deleted]
    assert chosen([kept, deleted], "archived") == []
    (row,) = model_rows([deleted], {deleted.job_id: frozenset({"verified"})})
    assert (row.status, row.uploaded) == ("deleted", "–")


def test_every_word_of_a_search_is_found_somewhere() -> None:
    one, two = version(number=1), version("other", 2, dataset_name="pension.json")
    assert chosen([one, two], "kept", "PENSION other") == [two]
    assert chosen([one, two], "kept", "pension empathy:1") == []
    assert chosen([one, two], "stored", " ") == [one, two]


def test_counts_and_removals_are_sentences() -> None:
    assert count_words([version(number=1), version(number=2)]) == "2 versions of 1 model"
    assert "no files of it" in removal_lines(Removal())[0]
    lines = removal_lines(Removal(("a",), ("b",), ("c",)))
    assert lines == ["removed: a", "left alone: b", "NOT REMOVED, delete it once more: c"]


def test_settings_that_differ_stand_first_and_all_others_are_left_out() -> None:
    compared = two()
    lines = comparison_text(compared, 80).plain.splitlines()
    assert lines[0].split() == ["A", "empathy:1", "B", "other:2"]
    assert lines[1].split() == ["lora_r", "16", "32"]
    assert not any(line.startswith("seed") for line in lines)
    assert comparison_dicts(compared)["differing_settings"] == {"lora_r": ["16", "32"]}
    assert differing([each.version for each in compared]) == ["lora_r"]
    same = comparison_text([compared[0], compared[0]], 80).plain
    assert same.splitlines()[1] == SAME_SETTINGS


@pytest.mark.parametrize("width", [1, 8, 20, 40, 80, 200])
def test_a_comparison_fits_its_width_where_there_is_any_and_keeps_the_versions(width: int) -> None:
    long = version("a-very-long-name-of-a-model-that-nobody-would-type", 12)
    compared = [*two(), ComparedVersion(long, (), ())]
    lines = comparison_text(compared, width).plain.splitlines()
    if width >= 40:
        assert max(map(len, lines)) <= width
    assert lines[0].rstrip().endswith(":12")


def test_a_version_of_another_release_without_a_setting_differs_in_it() -> None:
    older = version(settings={"seed": "42"})
    assert differing([older, version(number=2)]) == ["lora_r"]
    compared = [ComparedVersion(older, (), ()), ComparedVersion(version(number=2), (), ())]
    assert comparison_text(compared, 80).plain.splitlines()[1].split() == ["lora_r", "–", "16"]


def test_a_table_for_a_spreadsheet_has_no_formulas() -> None:
    formula = version(job_name="=cmd()", settings={"lora_r": "+1"})
    written = comparison_csv([ComparedVersion(formula, (), ()), ComparedVersion(version(), (), ())])
    header, first, _ = written.splitlines()
    assert header.endswith("hours,cost_usd,size_bytes,lora_r,seed")
    assert "'=cmd()" in first and "'+1" in first


def test_hostile_text_is_clean_everywhere() -> None:
    bad = version(
        job_name=HOSTILE, base_model=HOSTILE, dataset_name=HOSTILE, settings={"x": HOSTILE}
    )
    change = DeploymentChange("id", NOW, "stored", "testing", HOSTILE, HOSTILE)
    (row,) = model_rows([bad], {})
    compared = [ComparedVersion(bad, (), (HOSTILE,)), ComparedVersion(version(), (), ())]
    shown = [
        *row.cells,
        change_words(change),
        detail_text(bad, [change]).plain.replace("\n", ""),
        comparison_text(compared, 400).plain.replace("\n", ""),
    ]
    assert not any("\x1b" in text or "\u202e" in text or "\x07" in text for text in shown)
    assert ("files", "x") in detail_pairs(bad, ["x"])


def two() -> list[ComparedVersion]:
    point = MetricsPoint(1, 1, NOW, 0.1, 2.0, 1.0, 1e-4, 100, 50, 0.5, None, None, None)
    other = version("other", 2, settings={"lora_r": "32", "seed": "42"})
    return [ComparedVersion(version(), (point,), ("~/x",)), ComparedVersion(other, (point,), ())]
