"""What people are told of, and who has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared.notification import DEFAULT_KINDS, Notification, NotificationKind
from shared.store.notifications import NotificationState, after_try
from shared.store.store import Store
from tests.shared.store.journal import BEGIN

ENDED = Notification(
    "job/one/completed", NotificationKind.COMPLETED, BEGIN, "one: completed", "", "one"
)
QUEUED = Notification("job/one/queued", NotificationKind.QUEUED, BEGIN, "one: queued", "", "one")
LATER = BEGIN + timedelta(minutes=5)


async def test_an_event_is_written_down_once_and_what_nobody_wants_is_never_due(
    store: Store,
) -> None:
    assert await store.notifications.add([ENDED, QUEUED], DEFAULT_KINDS) == [ENDED.id, QUEUED.id]
    assert await store.notifications.add([ENDED, QUEUED], list(NotificationKind)) == []

    [due] = await store.notifications.due(BEGIN)
    assert due.notification == ENDED
    assert (due.state, due.sent_to, due.tries) == (NotificationState.WAITING, frozenset(), 0)


async def test_one_that_failed_is_due_when_its_pause_is_over(store: Store) -> None:
    await store.notifications.add([ENDED], DEFAULT_KINDS)
    [due] = await store.notifications.due(BEGIN)

    await store.notifications.save(after_try(due, {"mark-1"}, "no answer", LATER))

    assert await store.notifications.due(LATER - timedelta(seconds=1)) == []
    [again] = await store.notifications.due(LATER)
    assert (again.sent_to, again.tries, again.error) == (frozenset({"mark-1"}), 1, "no answer")


async def test_one_that_everybody_has_is_not_due_any_more(store: Store) -> None:
    await store.notifications.add([ENDED], DEFAULT_KINDS)
    [due] = await store.notifications.due(BEGIN)

    await store.notifications.save(after_try(due, {"mark-1"}, "", None))

    assert await store.notifications.due(LATER) == []
    [known] = await store.notifications.latest(9)
    assert (known.state, known.sent_to) == (NotificationState.SENT, frozenset({"mark-1"}))


async def test_what_is_old_and_waits_no_more_is_forgotten(store: Store) -> None:
    later = replace(ENDED, id="later", time=LATER)
    waiting = replace(ENDED, id="waiting")
    await store.notifications.add([ENDED, later], ())
    await store.notifications.add([waiting], DEFAULT_KINDS)

    await store.notifications.forget_before(LATER)

    known = await store.notifications.latest(9)
    assert [each.notification.id for each in known] == ["later", "waiting"]
