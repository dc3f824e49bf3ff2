from __future__ import annotations

from shared.advice.suggestion import Suggestion
from shared.job_spec import CheckpointReference
from tests.shared.store.journal import job_spec
from tui.views.suggestion_lines import changes_in_words, suggestion_lines

CHECKPOINT = CheckpointReference(job_id="job-zero", step=40, manifest_sha256="c" * 64)


def test_only_what_can_be_launched_is_numbered() -> None:
    found = [
        Suggestion("It hardly fell\x1b[2J.", {"learning_rate": 3e-4}),
        Suggestion("Or go on.", {"max_restarts": 6}, "resume"),
        Suggestion("A larger one would do.", way="none"),
    ]
    assert list(suggestion_lines(found, "job-one")) == [
        "1. It hardly fell.",
        "   brightrun retry job-one --set learning_rate=0.0003",
        "2. Or go on.",
        "   brightrun resume job-one --set max_restarts=6",
        "   A larger one would do.",
    ]


def test_changes_say_what_was_and_what_will_be() -> None:
    spec = job_spec(resume_from=CHECKPOINT)
    lower = Suggestion("", {"learning_rate": 1e-4})
    assert changes_in_words(spec, lower) == (
        "learning_rate 0.0002 → 0.0001, resume_from step 40 of job-zero → none"
    )
    going_on = Suggestion("", {"max_restarts": 6}, "resume")
    assert changes_in_words(spec, going_on) == "max_restarts 3 → 6, from its last checkpoint"
    assert changes_in_words(spec, Suggestion("")) == "as it was"
