"""Everything that is known of one machine, as names and values. All foreign text is clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.number_text import date_and_clock, size
from tui.views.machine_row import state_words

if TYPE_CHECKING:
    from shared.agent_protocol import GpuFacts, MachineFacts
    from tui.services.machines import MachineSight

Pairs = list[tuple[str, str]]


def machine_details(sight: MachineSight) -> Pairs:
    """What it said when it was last reached, and how that went now."""
    known = sight.known
    agent_id = f" ({known.agent_id})" if known.agent_id else ""
    since = known.agent_started_at
    pairs = [
        ("host", sight.name),
        ("state", state_words(sight)),
        ("reason", sight.reason),
        ("last contact", date_and_clock(known.last_contact_at) if known.last_contact_at else ""),
        ("agent", f"{known.agent_version}{agent_id}" if known.agent_version else ""),
        ("agent since", date_and_clock(since) if since else ""),
        ("directory", known.root or ""),
        *(_facts(known.facts) if known.facts is not None else ()),
        *(("runs", f"{job.job_id}  {job.name}") for job in sight.running),
    ]
    return [(name, clean_line(value)) for name, value in pairs if value]


def _facts(facts: MachineFacts) -> Pairs:
    load = "" if facts.load_1min is None else f", load {facts.load_1min:.2f}"
    return [
        *(("GPU", _gpu(gpu)) for gpu in facts.gpus),
        ("GPU unknown", facts.gpu_trouble),
        ("disk", _free(facts.disk_free_bytes, facts.disk_total_bytes)),
        ("memory", _free(facts.memory_available_bytes, facts.memory_total_bytes)),
        ("CPUs", f"{facts.cpus}{load}" if facts.cpus else ""),
    ]


def _free(free_bytes: int, total_bytes: int) -> str:
    return f"{size(free_bytes)} free of {size(total_bytes)}" if total_bytes else ""


def _gpu(gpu: GpuFacts) -> str:
    used = "–" if gpu.memory_used_mib is None else f"{gpu.memory_used_mib / 1024:.1f}"
    memory = gpu.memory_total_mib
    parts = [
        f"{gpu.index}: {gpu.name}",
        "" if memory is None else f"{used} of {memory / 1024:.1f} GiB used",
        "" if gpu.utilisation_percent is None else f"{gpu.utilisation_percent} % busy",
        f"driver {gpu.driver}" if gpu.driver else "",
        f"CUDA up to {gpu.cuda}" if gpu.cuda else "",
    ]
    return ", ".join(filter(None, parts))
