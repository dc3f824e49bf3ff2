from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money.machine_cost import gpu_hours, gpus_of, machines_usd, paid_span, volumes_usd
from shared.money.periods import Span, month_span
from shared.money.records import KeptVolume
from shared.rental import MachinePurpose, MachineState
from tests.tui.rented import machine

HOUR = timedelta(hours=1)
EVENING = datetime(2026, 11, 30, 22, 0, tzinfo=UTC)


def test_a_machine_that_runs_over_the_months_end_counts_in_each_with_its_own_part() -> None:
    over = machine(
        state=MachineState.GONE,
        created_at=EVENING,
        rented_at=EVENING,
        gone_at=EVENING + 5 * HOUR,
        usd_per_hour=2.0,
    )
    later = EVENING + 100 * HOUR

    assert machines_usd([over], month_span(EVENING), later) == pytest.approx(4.0)
    assert machines_usd([over], month_span(later), later) == pytest.approx(6.0)


def test_a_machine_that_was_never_made_costs_nothing() -> None:
    never = machine(state=MachineState.NEVER, created_at=EVENING, gone_at=EVENING + HOUR)

    assert machines_usd([never], month_span(EVENING), EVENING + HOUR) == 0.0


@given(
    hours=st.floats(0, 2000),
    price=st.floats(0, 100),
    gone=st.booleans(),
    ahead=st.floats(-3, 500),
)
def test_the_days_together_are_what_the_whole_machine_costs(
    hours: float, price: float, gone: bool, ahead: float
) -> None:
    end = EVENING + timedelta(hours=hours)
    now = end + timedelta(hours=ahead)
    one = machine(
        state=MachineState.GONE if gone else MachineState.ENDING,
        created_at=EVENING,
        rented_at=EVENING,
        gone_at=end if gone else None,
        usd_per_hour=price,
    )

    parts = [part for _, part in paid_span(one, now).days()]

    assert machines_usd([one], Span(EVENING, now + timedelta(days=99)), now) == pytest.approx(
        one.cost_usd(now)
    )
    assert sum(part.hours for part in parts) * price == pytest.approx(one.cost_usd(now))


@pytest.mark.parametrize(
    ("label", "gpus"),
    [
        ("H100_PCIE secure US-KS-2", ("H100_PCIE", 1)),
        ("2x H100_SXM community anywhere", ("H100_SXM", 2)),
        ("", ("", 1)),
    ],
)
def test_the_label_tells_the_gpus(label: str, gpus: tuple[str, int]) -> None:
    assert gpus_of(machine(label=label)) == gpus


def test_a_machine_without_a_gpu_has_no_gpu_hours() -> None:
    rescue = machine(purpose=MachinePurpose.RESCUE, label="the smallest CPU machine")
    double = machine(label="2x H100_PCIE secure US-KS-2")

    assert gpus_of(rescue) == ("CPU", 0)
    assert gpu_hours([rescue, double], double.created_at + 3 * HOUR) == pytest.approx(6.0)


def test_a_volume_costs_its_month_spread_over_730_hours() -> None:
    volume = KeptVolume(
        "runpod", "v", "data", 100, "US-KS-2", 7.30, EVENING, EVENING + timedelta(hours=12)
    )

    assert volumes_usd([volume], month_span(EVENING)) == pytest.approx(0.02)
    assert volumes_usd([volume], Span(EVENING, EVENING + 99 * HOUR)) == pytest.approx(0.12)
