from __future__ import annotations

from datetime import timedelta

import pytest

from shared.rental import PHASES, Lease, MachineState, RentalPhase
from tests.tui.hostile import HOSTILE
from tests.tui.rented import BEGIN, machine, sight
from tui.views.rental_status import control_words, interruptions, is_alarming, rental_status

SOON = BEGIN + timedelta(minutes=3)


@pytest.mark.parametrize("phase", RentalPhase)
def test_every_phase_has_words_for_whoever_looks(phase: RentalPhase) -> None:
    status = rental_status(sight(phase), SOON)
    assert status.activity == str(PHASES[phase].activity or "")
    assert bool(status.owner) is (phase is not RentalPhase.DONE)


def test_a_deadline_counts_down_and_then_says_by_how_much_it_is_missed() -> None:
    connecting = sight(RentalPhase.CONNECTING)
    assert rental_status(connecting, SOON).countdown == "0:07:00 left"
    late = BEGIN + timedelta(minutes=11)
    assert rental_status(connecting, late).countdown == "overdue by 0:01:00"


def test_the_time_of_a_running_job_is_its_longest_duration() -> None:
    assert rental_status(sight(RentalPhase.RUNNING), SOON).countdown == "23:57:00 left"


def test_waiting_for_stock_ends_with_the_hours_that_were_agreed() -> None:
    waiting = sight(RentalPhase.WAITING, waiting_since=BEGIN)
    assert rental_status(waiting, SOON).countdown == "0:57:00 left"


def test_ending_a_machine_takes_as_long_as_it_takes() -> None:
    assert rental_status(sight(RentalPhase.ENDING), SOON).countdown == ""


def test_money_is_what_was_spent_of_the_budget_and_the_price_now() -> None:
    an_hour_later = BEGIN + timedelta(hours=1)
    running = sight(RentalPhase.RUNNING, machine())
    assert rental_status(running, an_hour_later).money == "$2.39 of $20.00, $2.39/h now"
    ended = machine(state=MachineState.GONE, gone_at=an_hour_later)
    assert rental_status(sight(RentalPhase.DONE, ended), SOON).money == "$2.39 of $20.00"


def test_a_machine_that_does_not_end_is_an_alarm_above_any_question() -> None:
    ending = machine(state=MachineState.ENDING, ending_at=BEGIN)
    assert not is_alarming(ending, BEGIN + timedelta(minutes=5))
    late = BEGIN + timedelta(minutes=11)
    assert rental_status(sight(RentalPhase.ASKING, ending, question="?"), late).urgency == "alarm"
    refused = machine(state=MachineState.ENDING, ending_at=BEGIN, last_error="500")
    assert is_alarming(refused, SOON)
    assert rental_status(sight(RentalPhase.ASKING, question="?"), SOON).urgency == "question"


def test_foreign_text_is_clean() -> None:
    status = rental_status(sight(reason=HOSTILE, question=HOSTILE), SOON)
    assert "\x1b" not in status.reason + status.question


def test_interruptions_are_counted_against_what_was_agreed() -> None:
    assert interruptions(sight()) == ""
    assert interruptions(sight(interruptions=1)) == "1 of 3 interruptions"


def test_it_is_said_who_controls() -> None:
    lease = Lease("x", "serve on box (pid 7)", SOON)
    assert control_words(lease, True, BEGIN) == "this console controls"
    assert control_words(lease, False, BEGIN) == "controlled by serve on box (pid 7): watching"
    assert (
        control_words(lease, False, SOON) == control_words(None, False, SOON) == "nobody controls"
    )
