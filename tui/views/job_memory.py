"""The predicted memory of a job that is still being typed, beside what its host has."""

from __future__ import annotations

from shared.agent_protocol import MachineFacts
from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.job_spec import build_job_spec
from shared.memory.cards import Fit
from tui.services.memory_check import Prediction, predict, room_on
from tui.services.model_shapes import FoundShape
from tui.services.preview import Preview
from tui.views.job_draft import JobDraft
from tui.views.memory_lines import need_in_words


def memory_of_draft(
    draft: JobDraft,
    preview: Preview | None,
    shape: FoundShape | None,
    facts: MachineFacts | None,
) -> Prediction | None:
    """None while too little is known of the draft or of its training file."""
    checked = preview.checked if preview else None
    if preview is None or preview.plan is None or checked is None or checked.dataset is None:
        return None
    if shape is None or draft.problems():
        return None
    try:
        values = {**draft.values(), "base_model": preview.base_model}
        spec = build_job_spec(checked.dataset, values, "new job")
    except InvalidInput:
        return None
    return predict(spec, shape, preview.plan, room_on(facts, spec.num_gpus))


def memory_text(memory: Prediction | None) -> str:
    """Empty where nothing is known, and nobody can say why not."""
    if memory is None:
        return ""
    if memory.need is None:
        return f"unknown: {clean_line(memory.reason)}"
    return need_in_words(memory.need)


def is_memory_short(memory: Prediction | None) -> bool:
    """True for what does not fit, or only just."""
    return memory is not None and memory.need is not None and memory.need.fit is not Fit.FITS
