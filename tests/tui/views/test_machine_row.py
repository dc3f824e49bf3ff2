from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.agent_protocol import GpuFacts, MachineFacts
from shared.store.stored import StoredHost
from tui.services.machines import MachineSight, MachineState, RunningJob
from tui.views.machine_row import gpu_words, machine_row

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def gpu(name: str, memory_total_mib: int | None = None) -> GpuFacts:
    return GpuFacts(index=0, name=name, memory_total_mib=memory_total_mib)


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=-5), "0 minutes"),
        (timedelta(seconds=61), "1 minute"),
        (timedelta(minutes=119), "119 minutes"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(days=12), "12 days"),
    ],
)
def test_how_long_an_agent_is_up(age: timedelta, words: str) -> None:
    known = StoredHost("local", agent_started_at=NOW - age)
    assert machine_row(MachineSight("local", MachineState.REACHABLE, known), NOW).up == words
    assert machine_row(MachineSight("local", MachineState.UNREACHABLE, known), NOW).up == "–"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (None, "–"),
        (MachineFacts(), "none"),
        (MachineFacts(gpu_trouble="hangs"), "–"),
        (
            MachineFacts(gpus=(gpu("NVIDIA A100", 40960), gpu("NVIDIA A100", 40960))),
            "2 × A100, 40 GiB",
        ),
        (MachineFacts(gpus=(gpu("L4"), gpu("T4", 15360))), "1 × L4; 1 × T4, 15 GiB"),
    ],
)
def test_gpus_in_words(facts: MachineFacts | None, words: str) -> None:
    assert gpu_words(facts) == words


def test_a_machine_that_never_answered_has_dashes() -> None:
    sight = MachineSight("ssh:pod", MachineState.NO_AGENT, StoredHost("ssh:pod"))
    row = machine_row(sight, NOW)
    assert (row.state, row.agent_version, row.disk_free, row.last_contact) == (
        *("no agent yet", "–", "–", "–"),
    )


def test_jobs_are_named_by_their_ids() -> None:
    running = (RunningJob("a", "x"), RunningJob("b", ""))
    sight = MachineSight("local", MachineState.REACHABLE, StoredHost("local"), running)
    assert machine_row(sight, NOW).running == "a, b"
