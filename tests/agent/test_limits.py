from __future__ import annotations

import signal

import pytest

from agent.limits import (
    Meter,
    Moment,
    Usage,
    carried,
    reached,
    read_moment,
    received,
    share_to_tell,
    warning,
)
from shared import events
from shared.agent_protocol import StartRequest
from shared.lifecycle import JobStatus, StopReason

BEGINNING = Moment(1000.0, "boot")


def usage_after(limits, elapsed_s):
    return carried(received(None, limits, BEGINNING), Moment(1000.0 + elapsed_s, "boot"))


@pytest.mark.parametrize(
    ("changes", "elapsed_s", "reason"),
    [
        ({}, 3599.0, None),
        ({}, 3600.0, StopReason.DEADLINE_REACHED),
        ({"budget_usd": 4.0}, 1799.0, None),
        ({"budget_usd": 4.0}, 1800.0, StopReason.BUDGET_EXHAUSTED),
        ({"spent_usd": 48.0}, 0.0, StopReason.BUDGET_EXHAUSTED),
        ({"reserve_usd": 60.0}, 0.0, StopReason.BUDGET_EXHAUSTED),
    ],
)
def test_a_limit_is_reached_when_budget_less_reserve_or_time_is_used_up(
    limits, changes, elapsed_s, reason
):
    found = reached(usage_after(limits(**changes), elapsed_s))
    assert (found.stop_reason if found else None) is reason


def test_the_verdict_says_its_figures(limits):
    found = reached(usage_after(limits(budget_usd=4.0), 1800))
    assert found.detail.startswith("2.00 USD of 4.00 USD are spent, and 2.00 USD are kept back")
    assert "1.00 h" in reached(usage_after(limits(), 3600)).detail


def test_half_and_four_fifths_of_the_budget_are_told_once_each(limits, tmp_path):
    now = [BEGINNING]
    meter = Meter(tmp_path / "limits.json", lambda: now[0])
    meter.receive(limits(spent_usd=0.0, budget_usd=2.5))

    def told_after(elapsed_s):
        now[0] = Moment(1000.0 + elapsed_s, "boot")
        words = warning(meter.usage)
        meter.mark_warned(max(share_to_tell(meter.usage), meter.usage.warned_share))
        return words

    assert told_after(2249) == ""
    assert told_after(2250).startswith("1.25 USD of the budget of 2.50 USD are spent")
    assert told_after(3599) == ""
    assert told_after(3600).startswith("2.00 USD of the budget of 2.50 USD are spent")
    assert told_after(4000) == ""


def test_what_was_told_is_not_told_again_by_the_next_machine_of_the_same_budget(limits):
    first = usage_after(limits(rental=1, spent_usd=0.0, budget_usd=2.5), 3600)
    first = first.model_copy(update={"warned_share": 0.8})
    now = Moment(9000.0, "boot")
    same = limits(rental=2, spent_usd=2.1, budget_usd=2.5)
    more = limits(rental=2, spent_usd=2.1, budget_usd=2.6)
    assert warning(received(first, same, now)) == ""
    assert warning(received(first, more, now)).startswith("2.10 USD")


def test_the_same_limits_again_do_not_begin_anew(limits):
    usage = received(usage_after(limits(), 100), limits(), Moment(1200.0, "boot"))
    assert usage.elapsed_s == 200


def test_newer_limits_replace_older_ones_and_those_of_an_earlier_machine_do_not(limits):
    now = Moment(1200.0, "boot")
    known = usage_after(limits(rental=2), 100)
    more = received(known, limits(rental=2, budget_usd=60.0), now)
    assert (more.limits.budget_usd, more.elapsed_s) == (60.0, 0.0)
    stale = received(known, limits(rental=1, budget_usd=60.0), now)
    assert (stale.limits, stale.elapsed_s) == (known.limits, 200.0)


def test_a_boot_of_another_kernel_keeps_what_was_used_up(limits):
    usage = carried(usage_after(limits(), 100), Moment(5.0, "other boot"))
    assert carried(usage, Moment(15.0, "other boot")).elapsed_s == 110


def test_a_restart_goes_on_counting_and_no_wall_clock_is_read(limits, tmp_path, monkeypatch):
    now = [BEGINNING]
    path = tmp_path / "limits.json"
    monkeypatch.setattr("time.time", lambda: 1 / 0)
    Meter(path, lambda: now[0]).receive(limits(budget_usd=4.0))
    now[0] = Moment(1900.0, "boot")
    again = Meter(path, lambda: now[0])
    assert again.usage.spent_usd == 1.5
    now[0] = Moment(2800.0, "boot")
    assert reached(again.usage).stop_reason is StopReason.BUDGET_EXHAUSTED


def test_what_is_used_up_is_written_once_a_minute(limits, tmp_path):
    now = [BEGINNING]
    path = tmp_path / "limits.json"
    meter = Meter(path, lambda: now[0])
    meter.receive(limits())
    for seconds, saved_s in ((59, 0), (60, 60), (100, 60), (120, 120)):
        now[0] = Moment(1000.0 + seconds, "boot")
        meter.save_at_times()
        assert Usage.model_validate_json(path.read_bytes()).elapsed_s == saved_s


def test_the_clock_is_the_kernels_uptime():
    with open("/proc/uptime", encoding="ascii") as file:
        told_s = float(file.read().split()[0])
    assert read_moment().uptime_s == pytest.approx(told_s, abs=5)


def test_a_request_with_a_field_that_nobody_knows_is_refused(pod):
    body = {"job": pod.spec().model_dump(mode="json"), "limit_usd": 5}
    with pytest.raises(ValueError, match="limit_usd"):
        StartRequest.model_validate(body)


# --- with a real trainer -----------------------------------------------------------------------

# At 36,000 USD an hour a second costs 10 USD.
FAST = {"usd_per_hour": 36_000.0, "spent_usd": 0.0, "budget_usd": 30.0, "reserve_usd": 5.0}


async def start_then_tighten(pod, supervisor, notes, tight, loose):
    """Time that a busy machine takes to start a trainer must not count."""
    await supervisor.start(pod.spec(notes), limits=loose)
    await pod.until_step(3)
    assert not await supervisor.start(pod.spec(notes), limits=tight)


async def test_at_the_end_of_the_budget_the_trainer_saves_and_the_job_ends(pod, limits):
    pod.rent(1)
    supervisor = await pod.supervisor()
    await start_then_tighten(pod, supervisor, "steps=1000 delay=0.05", limits(**FAST), limits())
    records = await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.status, state.stop_reason) == (JobStatus.FAILED, StopReason.BUDGET_EXHAUSTED)
    assert state.last_checkpoint_step == state.step > 0
    assert (records[-1].event.exit_code, records[-1].event.will_retry) == (75, False)
    assert "of 30.00 USD are spent" in records[-1].event.detail
    told = [r.event.message for r in records if isinstance(r.event, events.LogLine)]
    # Half and four fifths are told apart where a look falls between them.
    assert len(told) in (2, 3)
    assert all("of the budget of" in line for line in told[:-1])
    assert "stops" in told[-1]


async def test_at_the_deadline_a_trainer_that_does_not_save_is_killed_after_the_grace(pod, limits):
    pod.rent(1)
    supervisor = await pod.supervisor(limit_grace_s=0.3)
    notes = "steps=1000 delay=0.05 stubborn=1"
    await start_then_tighten(pod, supervisor, notes, limits(deadline_s=1.0), limits())
    records = await pod.until_final(supervisor)
    assert records[-1].event.stop_reason is StopReason.DEADLINE_REACHED
    assert records[-1].event.signal == signal.SIGKILL


async def test_a_limit_that_is_reached_before_the_start_starts_nothing(pod, limits):
    pod.rent(1)
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec(), limits=limits(spent_usd=60.0))
    await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.stop_reason is StopReason.BUDGET_EXHAUSTED
    assert pod.shims() == []


async def test_a_restart_of_the_agent_does_not_reset_the_cap(pod, limits):
    pod.rent(1)
    supervisor = await pod.supervisor()
    await start_then_tighten(pod, supervisor, "steps=1000 delay=0.05", limits(**FAST), limits())
    await pod.until(lambda: supervisor.meters["job-one"].usage.elapsed_s > 0.1)
    await pod.close(supervisor)
    again = await pod.supervisor()
    assert again.meters["job-one"].usage.elapsed_s > 0.1
    await pod.until_final(again)
    assert again.job("job-one").state.stop_reason is StopReason.BUDGET_EXHAUSTED


async def test_a_job_may_begin_with_a_later_attempt(pod, limits):
    pod.rent(3)
    supervisor = await pod.supervisor()
    assert await supervisor.start(pod.spec(max_restarts=0), first_attempt=3, limits=limits(3))
    assert not await supervisor.start(pod.spec(max_restarts=0), first_attempt=3, limits=limits(3))
    records = await pod.until_final(supervisor)
    assert {record.attempt for record in records} == {3}
    assert records[0].event.rental == 3
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED


async def test_a_restart_before_the_first_line_begins_with_the_same_attempt(pod, limits):
    pod.rent(3)
    spec = pod.spec()
    supervisor = await pod.supervisor()
    supervisor._write_job(spec, 3)
    await pod.close(supervisor)
    again = await pod.supervisor()
    records = await pod.until_final(again)
    assert {record.attempt for record in records} == {3}
