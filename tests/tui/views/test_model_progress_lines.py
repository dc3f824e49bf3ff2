from __future__ import annotations

from shared.events import ModelProgress
from shared.job_state import JobState
from tui.views.model_progress_lines import model_progress_pairs


def test_a_model_on_its_way_has_a_line_of_clean_text() -> None:
    progress = ModelProgress(
        what="quantising",
        done_bytes=30_000_000,
        total_bytes=120_000_000,
        bytes_per_s=9_000_000,
        eta_s=10,
        file="\x1b[31mmodel.safetensors",
    )
    assert model_progress_pairs(JobState(model_progress=progress)) == [
        (
            "model",
            "quantising 30.0 MB of 120.0 MB (25 %), 9.0 MB/s, 0:00:10 left: model.safetensors",
        )
    ]


def test_before_and_after_there_is_none() -> None:
    assert model_progress_pairs(JobState()) == []
