from __future__ import annotations

from datetime import timedelta

from shared.rental import MachineState, RentalPhase
from tests.tui.rented import BEGIN, LABEL, machine, sight
from tui.views.rental_notices import RentalNotices

NOW = BEGIN + timedelta(hours=1)


def words(notices: RentalNotices, *sights: object) -> list[str]:
    """What the last of them gives."""
    told = [notices.of(item, NOW) for item in sights]  # type: ignore[arg-type]
    return [notice.words for notice in told[-1]]


def test_what_was_there_at_the_first_look_is_no_news() -> None:
    ended = machine(state=MachineState.GONE, gone_at=NOW)
    assert words(RentalNotices(), sight(RentalPhase.DONE, ended, interruptions=2)) == []


def test_a_machine_that_is_rented_or_gone_is_told_once() -> None:
    notices = RentalNotices()
    intended, rented = machine(state=MachineState.INTENDED), machine()
    gone = machine(state=MachineState.GONE, gone_at=NOW)
    phase = RentalPhase.PROVISIONING
    assert words(notices, sight(phase, intended), sight(phase, rented)) == [
        f"{LABEL} is rented, $2.39/h."
    ]
    assert words(notices, sight(phase, rented)) == []
    assert words(notices, sight(phase, gone)) == [
        f"{LABEL} has ended: it is gone, and cost about $2.39."
    ]


def test_an_interruption_is_told_with_its_reason() -> None:
    lost = sight(RentalPhase.PROVISIONING, interruptions=1, reason="the pod EXITED")
    assert words(RentalNotices(), sight(), lost) == [
        "its machine is lost (interruption 1 of 3): the pod EXITED"
    ]


def test_a_question_is_told_also_when_it_was_there_before_the_console() -> None:
    notices = RentalNotices()
    asking = sight(RentalPhase.ASKING, question="Rent again?")
    assert words(notices, asking) == ["asks: Rent again? (a answers)"]
    assert words(notices, asking) == []


def test_a_machine_that_does_not_end_alarms_once_even_if_nothing_changes() -> None:
    notices = RentalNotices()
    ending = machine(state=MachineState.ENDING, ending_at=NOW)
    assert words(notices, sight(RentalPhase.ENDING, ending)) == []
    assert list(notices.alarms(NOW)) == []
    later = NOW + timedelta(minutes=11)
    [(job_id, notice)] = notices.alarms(later)
    assert (job_id, notice.severity) == ("job-rent", "error")
    assert "does not end" in notice.words
    assert list(notices.alarms(later)) == []
