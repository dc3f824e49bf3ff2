"""Whether a rented machine is the one that was agreed: its GPUs, driver, disk and Python.

A script that any stock image runs, and the reading of what it prints; it knows no connection.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from shared.agent_protocol import GpuFacts
from shared.clean_text import clean_line
from shared.errors import ProtocolError
from shared.machine_request import Candidate, MachineRequest
from shared.memory.cards import CARDS, memory_of_driver
from shared.number_text import size
from shared.nvidia_smi import ARGUMENTS, parse_report

_LEAST_MEMORY_SHARE = 0.95
"""Of what a card is sold as; the driver keeps a little for itself."""
_LEAST_DISK_BYTES = 10 * 10**9
"""Agent and training stack; a base model needs more, which its download says."""
_DISK, _REPORT, _TROUBLE = "brightrun-disk", "brightrun-gpus", "brightrun-no-gpus"


@dataclass(frozen=True, slots=True)
class MachineReport:
    """What the machine says of itself."""

    gpus: tuple[GpuFacts, ...]
    gpu_trouble: str
    """Why there are none."""
    disk_free_bytes: int


def script(base: str) -> str:
    """For a POSIX shell."""
    return (
        f"mkdir -p {shlex.quote(base)} || exit 1\n"
        f"df -Pk {shlex.quote(base)} | awk 'NR==2 {{print \"{_DISK}\", $4}}'\n"
        f"if report=$(nvidia-smi {' '.join(ARGUMENTS)} 2>&1); then\n"
        f"  echo {_REPORT}; printf '%s\\n' \"$report\"\n"
        f"else\n  echo {_TROUBLE}; printf '%s\\n' \"$report\" | tail -3\nfi\n"
    )


def read(output: str) -> MachineReport:
    """What the script printed.

    Raises:
        ProtocolError: the machine's shell or its tools do not answer as they should.
    """
    disk = re.search(rf"^{_DISK} (\d+)$", output, re.MULTILINE)
    if disk is None:
        raise ProtocolError(f"it does not tell its free disk space: {clean_line(output)[:200]!r}.")
    free_bytes = 1024 * int(disk[1])
    _, found, report = output.partition(f"\n{_REPORT}\n")
    if found:
        return MachineReport(parse_report(report), "", free_bytes)
    trouble = clean_line(output.partition(f"{_TROUBLE}\n")[2])[:200]
    return MachineReport((), trouble or "nvidia-smi does not run", free_bytes)


def fault_of(report: MachineReport, candidate: Candidate, request: MachineRequest) -> str:
    """Why it is not what was agreed; "" if it is."""
    if len(report.gpus) != candidate.gpu_count:
        what = report.gpu_trouble or f"it has {len(report.gpus)}"
        return f"{candidate.gpu_count} GPU(s) were agreed: {what}"
    card = CARDS[candidate.gpu_type]
    for gpu in report.gpus:
        memory_bytes = memory_of_driver(gpu.memory_total_mib or 0)
        if memory_bytes < _LEAST_MEMORY_SHARE * card.memory_bytes:
            return f"{gpu.name} with {size(memory_bytes)} is not the {candidate.gpu_type} agreed"
        if not _is_such_a(candidate.gpu_type, gpu.name):
            return f"{gpu.name} is not the {candidate.gpu_type} agreed"
        if gpu.cuda is not None and _version(gpu.cuda) < _version(request.min_cuda):
            return f"its driver {gpu.driver} runs CUDA {gpu.cuda}; {request.min_cuda} is needed"
    if report.disk_free_bytes < _LEAST_DISK_BYTES:
        return f"{size(report.disk_free_bytes)} of disk are free; the training stack needs more"
    return ""


def in_words(report: MachineReport) -> str:
    """`2x NVIDIA H100 PCIe, CUDA 12.8, 48 GB of disk free`."""
    first = report.gpus[0] if report.gpus else None
    count = f"{len(report.gpus)}x " if len(report.gpus) > 1 else ""
    gpu = "no GPU" if first is None else f"{count}{first.name}, CUDA {first.cuda}"
    return f"{gpu}, {size(report.disk_free_bytes)} of disk free"


def _is_such_a(gpu_type: str, driver_name: str) -> bool:
    """By the family: drivers name variants in their own way, memory tells those apart."""
    family = gpu_type.removeprefix("RTX_").split("_")[0]
    return family.lower() in driver_name.lower().replace(" ", "_")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
