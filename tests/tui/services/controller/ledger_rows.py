"""Requests, rentals and machines as the ledger has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.machine_request import Candidate, MachineRequest
from shared.rental import Machine, MachinePurpose, MachineState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def candidate(**values: Any) -> Candidate:
    return Candidate(**{"gpu_type": "H100_PCIE", "usd_per_hour": 2.4, **values})


def request(**values: Any) -> MachineRequest:
    return MachineRequest(**{"candidates": (candidate(),), "budget_usd": 10.0, **values})


def machine(**values: Any) -> Machine:
    """A rented one, asked for at NOW."""
    return Machine(
        **{
            "name": "brightrun-0a1b2c3d-job-one-1",
            "job_id": "job-one",
            "provider": "runpod",
            "purpose": MachinePurpose.TRAIN,
            "number": 1,
            "label": "H100_PCIE secure anywhere",
            "state": MachineState.RENTED,
            "usd_per_hour": 2.4,
            "created_at": NOW,
            "rented_at": NOW,
            "machine_id": "pod-1",
            **values,
        }
    )
