"""What an ended job's figures suggest, in lines: a sentence, and what to type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.advice.suggestion import Suggestion
from shared.clean_text import clean_line
from shared.job_options import changed_settings, retried_spec
from shared.job_spec import JobSpec


def suggestion_lines(suggestions: Sequence[Suggestion], job_id: str) -> Iterable[str]:
    """Numbered as `brightrun retry JOB --suggested N` counts them."""
    number = 0
    for suggestion in suggestions:
        if not suggestion.can_be_launched:
            yield f"   {clean_line(suggestion.reason)}"
            continue
        number += 1
        yield f"{number}. {clean_line(suggestion.reason)}"
        yield f"   {suggestion.command(job_id)}"


def changes_in_words(spec: JobSpec, suggestion: Suggestion) -> str:
    """`learning_rate 0.0002 → 0.0001`; what is not as in the job of `spec`."""
    changed = changed_settings(spec, retried_spec(spec, suggestion.changes))
    words = [f"{name} {before} → {after}" for name, before, after in changed]
    if suggestion.way == "resume":
        words.append("from its last checkpoint")
    return clean_line(", ".join(words)) or "as it was"
