"""Rented jobs on the screens, on real stores; the tests write what a controller would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.rental import MachineState, RentalPhase, Wish
from shared.store.store import Store
from tests.tui.console_pilot import open_app
from tests.tui.hostile import HOSTILE, harm_on
from tests.tui.local_console import Console
from tests.tui.rented import machine, put
from tests.tui.screens.rental import OPEN, console, opened, store
from tui.screens.answer import AnswerScreen
from tui.screens.leave import LeaveScreen

__all__ = ["console", "opened", "store"]  # fixtures


async def rent(store: Store, **values: object) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    times = {"created_at": an_hour_ago, "rented_at": an_hour_ago, **values}
    await store.rentals.intend(machine(**times))  # type: ignore[arg-type]


async def test_the_table_shows_the_phase_and_what_the_machines_cost(
    opened: OPEN, store: Store
) -> None:
    async with opened() as pilot:
        await pilot.until_seen("runpod", "waiting for its", "nobody controls")
        await rent(store)
        await put(store, phase=RentalPhase.CONNECTING)
        await pilot.until_seen("connecting", "$2.39")


async def test_a_question_is_a_badge_and_its_answer_reaches_the_ledger(
    opened: OPEN, store: Store
) -> None:
    async with opened() as pilot:
        await pilot.until_seen("waiting for its")
        assert " Answer" not in pilot.text
        await put(store, phase=RentalPhase.ASKING, question="Three machines were lost. Go on?")
        await pilot.until_seen("asks you", "Three machines were lost.", "a Answer")

        await pilot.press("a")
        await pilot.until(lambda: isinstance(pilot.app.screen, AnswerScreen))
        await pilot.until_seen("go on", "stop", "of $20.00")
        await pilot.press("enter")
        await pilot.until_seen("answered: go on")
        stored = await store.rentals.get("job-rent")
        assert stored is not None
        assert (stored.answer, stored.wish) == ("go on", Wish.RUN)

        await pilot.press("a")
        await pilot.until(lambda: isinstance(pilot.app.screen, AnswerScreen))
        await pilot.press("down", "enter")
        await pilot.until_seen("answered: stop")
        stored = await store.rentals.get("job-rent")
        assert stored is not None
        assert stored.wish is Wish.CANCEL


async def test_a_fingerprint_is_typed_where_the_log_named_none(opened: OPEN, store: Store) -> None:
    await put(store, phase=RentalPhase.CONNECTING, question="Answer with its fingerprint.")
    async with opened() as pilot:
        await pilot.until_seen("asks you")
        await pilot.press("a")
        await pilot.until(lambda: isinstance(pilot.app.screen, AnswerScreen))
        await pilot.press(*"SHA256:abc", "enter")
        await pilot.until_seen("answered: SHA256:abc")
        stored = await store.rentals.get("job-rent")
        assert stored is not None
        assert stored.answer == "SHA256:abc"


async def test_a_question_may_wait(opened: OPEN, store: Store) -> None:
    await put(store, phase=RentalPhase.ASKING, question="Go on?")
    async with opened() as pilot:
        await pilot.until_seen("asks you")
        await pilot.press("a")
        await pilot.until(lambda: isinstance(pilot.app.screen, AnswerScreen))
        await pilot.press("escape")
        await pilot.until(lambda: not isinstance(pilot.app.screen, AnswerScreen))
        stored = await store.rentals.get("job-rent")
        assert stored is not None
        assert stored.answer == ""


async def test_the_job_screen_says_whose_turn_it_is_until_when_and_why(
    opened: OPEN, store: Store
) -> None:
    await rent(store)
    reason = "no answer from its sshd yet"
    await put(store, phase=RentalPhase.CONNECTING, reason=reason, interruptions=1)
    async with opened() as pilot:
        await pilot.press("enter")
        await pilot.until_seen("the controller acts", "left", "$2.39 of $20.00", reason)
        await pilot.until_seen("interruptions", "budget")
        assert "unreachable" not in pilot.text


async def test_the_ledger_stands_among_the_events_and_grows(opened: OPEN, store: Store) -> None:
    await store.rentals.note("job-rent", datetime.now(UTC), "asked for H100_PCIE", "info")
    async with opened() as pilot:
        await pilot.press("enter")
        await pilot.until(lambda: pilot.job_screen.history)
        await pilot.press("2")
        await pilot.until_seen("rent: asked for H100_PCIE")
        await store.rentals.note("job-rent", datetime.now(UTC), "the pod EXITED", "warning")
        await pilot.until_seen("warning: rent: the pod EXITED")
        assert pilot.text.count("asked for H100_PCIE") == 1


async def test_the_machines_of_a_job_are_listed_with_what_was_agreed(
    opened: OPEN, store: Store
) -> None:
    await rent(store, state=MachineState.GONE, gone_at=datetime.now(UTC), end_reason="was lost")
    await rent(store, number=2)
    await put(store, phase=RentalPhase.RUNNING)
    async with opened() as pilot:
        await pilot.press("enter")
        await pilot.until(lambda: pilot.job_screen.history)
        await pilot.press("6")
        await pilot.until_seen("gone", "was lost", "rented", "$2.39/h", "tried first", "A100_80GB")
        await pilot.until_seen("up to 3, then it asks")


async def test_what_happens_to_machines_is_told(opened: OPEN, store: Store) -> None:
    rented = machine(state=MachineState.INTENDED, created_at=datetime.now(UTC))
    async with opened() as pilot:
        await pilot.until_seen("waiting for its")
        await store.rentals.intend(rented)
        await put(store, phase=RentalPhase.PROVISIONING)
        await pilot.until(lambda: pilot.app.rentals.sights["job-rent"].machines)
        await store.rentals.save_machine(machine(created_at=datetime.now(UTC)))
        await pilot.until_seen("H100_PCIE secure US-KS-2")
        ending = machine(state=MachineState.ENDING, last_error="RunPod answered 500")
        await store.rentals.save_machine(ending)
        await pilot.until_seen("RunPod answered 500", "not ending")


async def test_leaving_while_something_is_rented_says_what_protects_the_money(
    opened: OPEN, store: Store
) -> None:
    async with opened() as pilot:
        await pilot.until_seen("waiting for its")
        await pilot.press("q")
        await pilot.until(lambda: isinstance(pilot.app.screen, LeaveScreen))
        await pilot.until_seen("1 rented job goes on", "brightrun serve")
        await pilot.press("n")
        await pilot.until(lambda: not isinstance(pilot.app.screen, LeaveScreen))

        now = datetime.now(UTC)
        await store.rentals.take_lease("else", "serve on box (pid 7)", now, timedelta(hours=1))
        await pilot.until_seen("controlled by serve on box (pid 7): watching")
        await pilot.press("q")
        await pilot.until_seen("Controlled by serve on box (pid 7)")
        await pilot.press("y")
        await pilot.until(lambda: not pilot.app.is_running)


async def test_a_finished_rent_asks_nothing_when_the_console_is_left(
    opened: OPEN, store: Store
) -> None:
    await rent(store, state=MachineState.GONE, gone_at=datetime.now(UTC))
    await put(store, phase=RentalPhase.DONE)
    async with opened() as pilot:
        await pilot.until_seen("$2.39")
        assert "controls" not in pilot.text
        await pilot.press("q")
        await pilot.until(lambda: not pilot.app.is_running)


async def test_a_controller_that_fails_takes_no_screen_down(
    console: Console, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_: object) -> None:
        raise ValueError("a fault of its own")

    monkeypatch.setattr("tui.services.controller.controller.Controller._lead", failing)
    async with open_app(console, size=(160, 40)) as pilot:
        await pilot.until_seen("it stopped: ValueError('a fault of its own')")
        await pilot.press("enter")
        await pilot.until(lambda: pilot.job_screen.history)


async def test_hostile_words_of_providers_do_no_harm(opened: OPEN, store: Store) -> None:
    await rent(store, label=HOSTILE, last_error=HOSTILE, state=MachineState.ENDING)
    await store.rentals.note("job-rent", datetime.now(UTC), HOSTILE, "error")
    await put(store, phase=RentalPhase.ASKING, reason=HOSTILE, question=HOSTILE)
    async with opened() as pilot:
        await pilot.until_seen("not ending")
        assert harm_on(pilot.app) == []
        await pilot.press("a")
        await pilot.until(lambda: isinstance(pilot.app.screen, AnswerScreen))
        assert harm_on(pilot.app) == []
        await pilot.press("escape", "enter")
        await pilot.until(lambda: pilot.job_screen.history)
        for key in ("2", "6", "1"):
            await pilot.press(key)
            await pilot.pilot.pause(0.6)
            for size in [(20, 5), (80, 24), (1, 1), (200, 50)]:
                await pilot.pilot.resize_terminal(*size)
                await pilot.pilot.pause(0.05)
                assert harm_on(pilot.app) == []
