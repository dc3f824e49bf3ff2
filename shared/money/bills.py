"""Our own figures beside the provider's bill: when it is asked for, and what differs.

Pure. A bill lags: hours pass until all of a machine is on it, so a bill that is smaller than our
figure says nothing at first, and one that is larger always does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.money.records import MachineBill
from shared.rental import Machine, MachineState

FIRST_ASKED_AFTER = timedelta(minutes=10)
"""A machine's proved end; before that there is nothing to be found (assumed, 2026-11)."""
ASKED_EVERY = timedelta(hours=1)
ASKED_FOR = timedelta(days=3)
"""After a machine's end; what is on the bill then stays."""
LAG = timedelta(hours=24)
"""A smaller bill is no difference before."""
NOTABLE_SHARE = 0.05
NOTABLE_USD = 0.10


@dataclass(frozen=True, slots=True)
class BillDifference:
    """One machine's cost by our ledger and by the provider's bill; dollars."""

    machine: Machine
    ours_usd: float
    billed_usd: float
    asked_at: datetime

    @property
    def usd(self) -> float:
        """Above 0 where the provider wants more than we counted."""
        return self.billed_usd - self.ours_usd

    @property
    def is_notable(self) -> bool:
        """True where somebody should look into it."""
        large = abs(self.usd) > max(NOTABLE_USD, NOTABLE_SHARE * self.ours_usd)
        return large and (self.usd > 0 or self._is_complete)

    @property
    def _is_complete(self) -> bool:
        gone_at = self.machine.gone_at
        return gone_at is not None and self.asked_at - gone_at >= LAG


def due(
    machines: Iterable[Machine], bills: Mapping[str, MachineBill], now: datetime
) -> list[Machine]:
    """Those whose bill is to be asked for now, unasked by anybody."""
    found = []
    for machine in unsettled(machines, bills):
        assert machine.gone_at is not None
        age, bill = now - machine.gone_at, bills.get(machine.name)
        is_time = bill is None or now - bill.asked_at >= ASKED_EVERY
        if is_time and FIRST_ASKED_AFTER <= age <= ASKED_FOR + ASKED_EVERY:
            found.append(machine)
    return found


def unsettled(machines: Iterable[Machine], bills: Mapping[str, MachineBill]) -> list[Machine]:
    """Those that are gone, and whose bill may still change."""
    found = []
    for machine in machines:
        bill = bills.get(machine.name)
        if machine.state is MachineState.GONE and machine.machine_id and machine.gone_at:
            asked_late = bill is not None and bill.asked_at - machine.gone_at > ASKED_FOR
            if not asked_late:
                found.append(machine)
    return found


def differences(
    machines: Iterable[Machine], bills: Mapping[str, MachineBill]
) -> list[BillDifference]:
    """Of every machine that is gone and on the bill, oldest first."""
    found = []
    for machine in machines:
        bill = bills.get(machine.name)
        if bill is None or bill.billed_usd is None or machine.gone_at is None:
            continue
        ours = machine.cost_usd(machine.gone_at)
        found.append(BillDifference(machine, ours, bill.billed_usd, bill.asked_at))
    return sorted(found, key=lambda each: each.machine.created_at)
