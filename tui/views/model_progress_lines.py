"""How far a job's base model is on its way, from values alone."""

from __future__ import annotations

from shared.event_text import describe_model_progress
from shared.job_state import JobState


def model_progress_pairs(state: JobState) -> list[tuple[str, str]]:
    """One name and value while the model is downloaded, quantised, verified or loaded."""
    if state.model_progress is None:
        return []
    return [("model", describe_model_progress(state.model_progress))]
