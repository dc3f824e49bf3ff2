from __future__ import annotations

from shared.events import ModelProgress
from shared.model_cache import CachedModel, Filled
from tests.shared.store.journal import BEGIN
from tui.views.model_cache_rows import cache_row, filled_words, prune_words, rate_words

COMPLETE = CachedModel(
    base_model="org/llama",
    revision="c0ffee" + 34 * "0",
    requested_revision="main",
    path="/models/org--llama",
    size_bytes=39_500_000_000,
    created_at=BEGIN,
    is_complete=True,
)


def test_a_copy_is_a_line_with_what_was_asked_for_then() -> None:
    name, revision, size, _, state = cache_row(COMPLETE)
    assert (name, size, state) == ("org/llama", "39.5 GB", "complete")
    assert revision == "c0ffee000000 (main)"


def test_what_another_machine_calls_a_copy_cannot_steer_the_terminal() -> None:
    odd = COMPLETE.model_copy(
        update={"base_model": "org/\x1b[31mx", "is_complete": False, "trouble": "gone\x07"}
    )
    assert "\x1b" not in "".join(cache_row(odd)) and "\x07" not in "".join(cache_row(odd))


def test_what_goes_is_counted_with_what_it_frees() -> None:
    assert prune_words([COMPLETE]) == "1 copy, 39.5 GB"
    assert prune_words([COMPLETE, COMPLETE]) == "2 copies, 79.0 GB"


def test_rate_and_time_left_are_told_as_far_as_they_are_known() -> None:
    progress = ModelProgress(what="downloading", done_bytes=1, total_bytes=9)
    assert rate_words(progress) == ""
    told = progress.model_copy(update={"bytes_per_s": 118_300_000.0, "eta_s": 750.0})
    assert rate_words(told) == "118.3 MB/s, 0:12:30 left"


def test_a_filled_copy_says_what_it_took_or_that_it_was_there() -> None:
    filled = Filled(model=COMPLETE, was_there=False, seconds=750, downloaded_bytes=141 * 10**9)
    assert filled_words(filled, "ssh:gpu") == (
        "org/llama at c0ffee000000 is on ssh:gpu now: 39.5 GB in 0:12:30, 141.0 GB downloaded."
    )
    there = filled.model_copy(update={"was_there": True})
    assert filled_words(there, "local").startswith("org/llama at c0ffee000000 was there already")
