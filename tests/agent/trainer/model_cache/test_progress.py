"""How far a model is, said while it moves."""

from __future__ import annotations

from agent.trainer.model_cache.progress import Progress
from shared.events import ModelProgress


def test_rate_and_rest_are_those_of_the_last_minute() -> None:
    now = [0.0]
    progress = Progress(lambda said: None, "downloading", 10_000, clock=lambda: now[0])
    assert progress.now().bytes_per_s is None
    for second in range(1, 121):
        now[0] = second
        progress.add(10 if second <= 60 else 50)
        told = progress.now()
    assert told.done_bytes == 3600
    assert told.bytes_per_s == 50
    assert told.eta_s == 128


def test_what_does_not_move_says_nothing() -> None:
    said: list[ModelProgress] = []
    progress = Progress(said.append, "quantising", 100)
    for _ in range(3):
        progress.say_if_moved()
    progress.add(1)
    progress.say_if_moved()
    assert [item.done_bytes for item in said] == [0, 1]


def test_bytes_that_count_no_more_go_back() -> None:
    said: list[ModelProgress] = []
    with Progress(said.append, "downloading", 100, 40, every_s=1000) as progress:
        progress.add(-50)
        progress.begin("quantising", 100, 7)
    assert [(item.what, item.done_bytes) for item in said] == [
        ("downloading", 40),
        ("quantising", 7),
    ]
