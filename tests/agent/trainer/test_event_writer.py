"""Lines of several threads stay whole, and nothing follows the last word."""

from __future__ import annotations

import threading
from pathlib import Path

from agent.trainer.event_writer import EventWriter
from shared.events import LogLine, TrainerFinished, decode_trainer_record
from shared.lifecycle import StopReason


def read(path: Path) -> list[object]:
    return [decode_trainer_record(line).event for line in path.read_bytes().splitlines()]


def test_two_threads_write_whole_lines_and_lose_none(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "trainer.jsonl")

    def write(name: str) -> None:
        for number in range(300):
            writer.write(LogLine(message=f"{name} {number} " + "x" * 500))

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [str(event.message) for event in read(tmp_path / "trainer.jsonl")]  # type: ignore[attr-defined]
    for name in "ab":
        own = [message.split()[1] for message in found if message.startswith(name)]
        assert own == [str(number) for number in range(300)]


def test_nothing_follows_the_last_word(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "trainer.jsonl")
    last = TrainerFinished(stop_reason=StopReason.TRAINER_KILLED, detail="SIGTERM")
    writer.write(last)
    writer.write(LogLine(message="a step ends in another thread"))
    writer.write(TrainerFinished(stop_reason=StopReason.DRY_RUN_PASSED))
    assert read(tmp_path / "trainer.jsonl") == [last]
