"""The predicted memory and time of a job that is still being typed, on the host that it names."""

from __future__ import annotations

from shared.agent_protocol import MachineFacts
from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.forecast.forecast import Forecast
from shared.forecast.past import Past
from shared.job_spec import JobSpec, build_job_spec
from shared.memory.cards import Fit
from tui.services.estimate import forecast_on_host
from tui.services.hosts.names import RUNPOD
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
    spec = _spec_of_draft(draft, preview)
    if spec is None or preview is None or preview.plan is None or shape is None:
        return None
    return predict(spec, shape, preview.plan, room_on(facts, spec.num_gpus))


def forecast_of_draft(
    draft: JobDraft,
    preview: Preview | None,
    shape: FoundShape | None,
    facts: MachineFacts | None,
    past: Past,
) -> Forecast | None:
    """None while too little is known, and for a machine that is chosen later."""
    spec = _spec_of_draft(draft, preview)
    if spec is None or preview is None or preview.plan is None or draft.host_name == RUNPOD:
        return None
    memory = memory_of_draft(draft, preview, shape, facts)
    found = None if shape is None else shape.shape
    return forecast_on_host(spec, preview.plan, found, memory, draft.host_name, facts, past)


def _spec_of_draft(draft: JobDraft, preview: Preview | None) -> JobSpec | None:
    checked = preview.checked if preview else None
    if preview is None or checked is None or checked.dataset is None or draft.problems():
        return None
    try:
        values = {**draft.values(), "base_model": preview.base_model}
        return build_job_spec(checked.dataset, values, "new job")
    except InvalidInput:
        return None


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
