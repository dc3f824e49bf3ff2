"""Rented jobs in a store, as a controller would have left them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.machine_request import Candidate, MachineRequest, Stock
from shared.rental import Machine, MachinePurpose, MachineState, Rental, RentalPhase
from shared.store.rentals import StoredRental
from shared.store.store import Store
from tests.shared.store.journal import job_spec
from tui.services.hosts.names import RUNPOD_PREFIX
from tui.services.rental_watch import RentalSight

BEGIN = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LABEL = "H100_PCIE secure US-KS-2"


def request(**values: Any) -> MachineRequest:
    first = Candidate(
        gpu_type="H100_PCIE", data_center="US-KS-2", usd_per_hour=2.39, stock=Stock.HIGH
    )
    second = Candidate(
        gpu_type="A100_80GB", data_center="US-KS-2", usd_per_hour=1.64, stock=Stock.LOW
    )
    usual = {"candidates": (first, second), "budget_usd": 20.0, "network_volume_id": "vol-1"}
    return MachineRequest.model_validate({**usual, **values})


def machine(
    job_id: str = "job-rent",
    state: MachineState = MachineState.RENTED,
    number: int = 1,
    **values: Any,
) -> Machine:
    is_rented = state not in (MachineState.INTENDED, MachineState.NEVER)
    usual: dict[str, Any] = {
        "name": f"brightrun-0123abcd-{job_id}-{number}",
        "provider": "runpod",
        "purpose": MachinePurpose.TRAIN,
        "label": LABEL,
        "usd_per_hour": 2.39,
        "created_at": BEGIN,
        "machine_id": f"pod-{number}" if is_rented else None,
        "rented_at": BEGIN + timedelta(seconds=4) if is_rented else None,
        "data_center": "US-KS-2",
    }
    return Machine(job_id=job_id, state=state, number=number, **{**usual, **values})


def sight(
    phase: RentalPhase = RentalPhase.RUNNING, *machines: Machine, **values: Any
) -> RentalSight:
    """How a job stands; `values` are fields of its rental."""
    rental = Rental(phase=phase, since=BEGIN, first_rented_at=BEGIN, **values)
    stored = StoredRental("job-rent", request(), rental, 1, "run", "", "")  # type: ignore[arg-type]
    return RentalSight(stored, machines)


async def add_rented_job(store: Store, job_id: str = "job-rent", **values: Any) -> None:
    """A job that is to be rented for; nothing has been done about it yet."""
    spec = job_spec(job_id, name=values.pop("name", f"the {job_id} one"))
    await store.add_job(spec, RUNPOD_PREFIX + job_id, None, request(**values))


async def put(store: Store, job_id: str = "job-rent", **values: Any) -> None:
    """Let the controller have come this far."""
    before = await store.rentals.get(job_id)
    assert before is not None
    values.setdefault("since", datetime.now(UTC))
    await store.rentals.replace(before, before.rental.model_copy(update=values))
