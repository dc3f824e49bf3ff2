"""All that is known of one machine, in words."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.agent_protocol import GpuFacts, MachineFacts
from shared.store.stored import StoredHost
from tests.tui.hostile import HOSTILE
from tui.services.machines import MachineSight, MachineState, RunningJob
from tui.views.machine_details import machine_details

THEN = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def test_every_fact_is_told_in_units() -> None:
    gpu = GpuFacts(index=1, name="H100", memory_total_mib=81920, memory_used_mib=512, cuda="12.8")
    facts = MachineFacts(
        gpus=(gpu,), disk_free_bytes=5_000_000, disk_total_bytes=9_000_000, cpus=8, load_1min=0.5
    )
    known = StoredHost("ssh:box", agent_version="0.1.0", agent_id="a1", facts=facts)
    running = (RunningJob("job-a", "mine"), RunningJob("job-b", ""))

    pairs = machine_details(MachineSight("ssh:box", MachineState.REACHABLE, known, running))

    assert pairs == [
        ("host", "ssh:box"),
        ("state", "reachable"),
        ("agent", "0.1.0 (a1)"),
        ("GPU", "1: H100, 0.5 of 80.0 GiB used, CUDA up to 12.8"),
        ("disk", "5.0 MB free of 9.0 MB"),
        ("CPUs", "8, load 0.50"),
        ("runs", "job-a mine"),
        ("runs", "job-b"),
    ]


def test_a_machine_that_is_away_has_its_reason_and_what_it_said_last() -> None:
    known = StoredHost("ssh:box", root="/r", last_contact_at=THEN, unreachable_since=THEN)
    sight = MachineSight("ssh:box", MachineState.UNREACHABLE, known, reason=f"no{HOSTILE}")

    pairs = dict(machine_details(sight))

    assert pairs["state"].startswith("unreachable since 2026-11-2")
    assert pairs["reason"].startswith("no[/]")
    assert "\x1b" not in pairs["reason"]
    assert pairs["directory"] == "/r"
    assert "agent" not in pairs
