"""What the form says about each field beside and below it."""

from __future__ import annotations

from shared.hyperparameters import Preset, help_line
from shared.job_options import JOB_OPTIONS, setting_text, usual_option
from tui.services.hosts.names import LOCAL
from tui.views.job_draft import preset_text, short_range

_FIELDS = {
    "dataset": "Training file, JSON or JSONL. Tab or → completes a path, ↓ takes a recent file, "
    "Ctrl+O shows them all.",
    "name": "3 to 100 characters. Left empty, it is the file's name.",
    "base_model": "tiny (made on the spot), smollm2, a directory, or a model id of the hub.",
    "revision": "Commit, tag or branch of the model on the hub. Left empty, the hub's default.",
    "host": "Where it runs: local, runpod (a machine is rented), ssh:NAME of ~/.ssh/config, or "
    "ssh:user@host:port. ↓ takes a known one.",
    "cut_targets": "Answers that end in mid-sentence: exclude keeps them as context only.",
    "over_long": "Conversations over max_seq_length: refuse the start, or exclude them.",
    "dry_run": "Everything up to and with the first optimizer step, on ten examples; no adapter.",
    "tags": "Words to find the job by, separated by commas.",
    "notes": "Whatever should be remembered about this job.",
    "preset": "Fills the fields below. What was changed by hand (•) stays as it is.",
}

_BASE_MODEL_ELSEWHERE = (
    "tiny (made on the spot), smollm2, a model id of the hub, or a directory on that host by its "
    "absolute path."
)


def field_help(field: str, preset: Preset, host: str = LOCAL) -> tuple[str, str]:
    """What a field is for, and what it may hold; the second may be empty."""
    if field == "base_model" and host != LOCAL:
        return _BASE_MODEL_ELSEWHERE, ""
    if field in _FIELDS:
        return _FIELDS[field], ""
    if field in JOB_OPTIONS:
        usual = setting_text(usual_option(field))
        return JOB_OPTIONS[field], f"{short_range(field)}; usually {usual}"
    default = preset_text(field, preset)
    return help_line(field), f"{short_range(field)}; {preset}: {default}"
