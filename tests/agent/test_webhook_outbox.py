"""The file of what is to be told: what a crash, a full backlog and a successor leave of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.webhook_outbox import Outbox
from shared.errors import MachineReplaced
from shared.webhook import WebhookMessage

BEGIN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def message(name: str, *, is_metrics: bool = False) -> WebhookMessage:
    return WebhookMessage(
        id=f"msg_abc_{name}", body='{"x":1}', created_at=BEGIN, is_metrics=is_metrics
    )


def names(outbox: Outbox) -> list[str]:
    return [each.id.removeprefix("msg_abc_") for each in outbox.waiting]


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.jsonl"
    outbox = Outbox(path)
    assert outbox.add([message("1"), message("2"), message("3")])
    assert not outbox.add([message("2")])
    outbox.settle(["msg_abc_1"], "delivered")

    again = Outbox(path)

    assert names(again) == ["2", "3"]
    assert [each.outcome for each in again.traced] == ["delivered", "waiting", "waiting"]
    assert again.traced == outbox.traced
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("torn", [b'{"message": {"id', b"\x00" * 4000, b'{"settled": "unknown"}\n'])
def test_what_a_crash_left_half_written_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "webhooks.jsonl"
    Outbox(path).add([message("1")])
    whole = path.read_bytes()
    path.write_bytes(whole + torn)

    outbox = Outbox(path)
    outbox.add([message("2")])

    assert names(Outbox(path)) == ["1", "2"]
    assert path.read_bytes().startswith(whole)
    assert path.read_bytes().count(b"\n") == 2
    assert path.read_bytes().endswith(b"\n")


def test_of_a_long_backlog_the_newest_figures_and_every_status_stay(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "webhooks.jsonl")
    outbox.add([message(str(number), is_metrics=number % 3 > 0) for number in range(10)])

    outbox.drop_superseded(most=10)
    assert len(outbox.waiting) == 10
    outbox.drop_superseded(most=9)

    assert names(outbox) == ["0", "3", "6", "8", "9"]
    assert outbox.count("superseded") == 5


def test_what_is_on_its_way_is_not_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "webhooks.jsonl")
    outbox.add([message(str(number), is_metrics=True) for number in range(5)])

    outbox.drop_superseded(most=1)

    assert names(outbox) == ["0", "4"]


def test_nothing_is_written_once_another_machine_has_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.jsonl"

    def check() -> None:
        raise MachineReplaced("another one")

    outbox = Outbox(path, check)
    with pytest.raises(MachineReplaced):
        outbox.add([message("1")])

    assert not path.exists()
    assert names(outbox) == []
