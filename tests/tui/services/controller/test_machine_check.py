from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.agent_protocol import GpuFacts
from shared.errors import ProtocolError
from tests.fakes.nvidia_smi import TWO_H100, install, printing
from tests.tui.services.controller.ledger_rows import candidate, request
from tui.services.controller import machine_check
from tui.services.controller.machine_check import MachineReport, fault_of

GB = 10**9


def gpu(**values: Any) -> GpuFacts:
    facts = {
        "index": 0,
        "name": "NVIDIA H100 PCIe",
        "memory_total_mib": 81_559,
        "driver": "570.86.15",
        "cuda": "12.8",
    }
    return GpuFacts(**{**facts, **values})


def report(*gpus: GpuFacts, free_gb: float = 50) -> MachineReport:
    return MachineReport(gpus, "", int(free_gb * GB))


def run(directory: Path, base: Path, smi: str | None) -> str:
    """What a bare shell prints for the script."""
    tools = directory / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "mkdir", "df", "awk", "tail", "cat"):
        found = next(Path(p) / name for p in ("/usr/bin", "/bin") if (Path(p) / name).exists())
        (tools / name).symlink_to(found)
    if smi is not None:
        install(tools, smi)
    done = subprocess.run(
        [str(tools / "sh"), "-c", machine_check.script(str(base))],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_a_shell_tells_what_a_machine_has(tmp_path: Path) -> None:
    base = tmp_path / "it's here" / "brightrun"

    read = machine_check.read(run(tmp_path, base, printing(TWO_H100)))

    assert base.is_dir()
    assert [found.name for found in read.gpus] == ["NVIDIA H100 80GB HBM3"] * 2
    free_bytes = os.statvfs(base).f_bavail * os.statvfs(base).f_frsize
    assert read.disk_free_bytes == pytest.approx(free_bytes, rel=0.05)
    assert machine_check.in_words(read).startswith("2x NVIDIA H100 80GB HBM3, CUDA 12.8, ")


@pytest.mark.parametrize(
    ("smi", "trouble"),
    [
        (None, "not found"),
        ("echo 'No devices were found'; exit 6", "No devices were found"),
        ("exit 9", "nvidia-smi does not run"),
    ],
)
def test_a_machine_without_gpus_says_why(tmp_path: Path, smi: str | None, trouble: str) -> None:
    read = machine_check.read(run(tmp_path, tmp_path / "base", smi))

    assert read.gpus == ()
    assert trouble in read.gpu_trouble
    assert trouble in fault_of(read, candidate(), request())


def test_a_machine_that_talks_nonsense_is_no_machine() -> None:
    with pytest.raises(ProtocolError, match="free disk space"):
        machine_check.read("Welcome!\n")
    with pytest.raises(ProtocolError, match="nvidia-smi printed"):
        machine_check.read("brightrun-disk 100\nbrightrun-gpus\n<html>")


@pytest.mark.parametrize(
    ("gpu_type", "name", "memory_mib"),
    [
        ("H100_PCIE", "NVIDIA H100 PCIe", 81_559),
        ("H100_SXM", "NVIDIA H100 80GB HBM3", 81_559),
        ("H100_NVL", "NVIDIA H100 NVL", 95_830),
        ("A100_80GB", "NVIDIA A100 80GB PCIe", 81_920),
        ("A100_80GB", "NVIDIA A100-SXM4-80GB", 81_920),
        ("RTX_4090", "NVIDIA GeForce RTX 4090", 24_564),
    ],
)
def test_what_was_agreed_passes(gpu_type: str, name: str, memory_mib: int) -> None:
    found = report(gpu(name=name, memory_total_mib=memory_mib))

    assert fault_of(found, candidate(gpu_type=gpu_type), request()) == ""


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (report(gpu(name="NVIDIA A100 80GB PCIe")), "A100 80GB PCIe is not the H100_PCIE agreed"),
        (report(gpu(memory_total_mib=40_960)), "is not the H100_PCIE agreed"),
        (report(gpu(memory_total_mib=None)), "is not the H100_PCIE agreed"),
        (report(gpu(cuda="12.2")), "runs CUDA 12.2; 12.8 is needed"),
        (report(gpu(), gpu(index=1)), "1 GPU(s) were agreed: it has 2"),
        (report(gpu(), free_gb=4), "4.0 GB of disk are free"),
    ],
)
def test_what_was_not_agreed_has_its_reason(found: MachineReport, fault: str) -> None:
    assert fault in fault_of(found, candidate(), request())


def test_a_newer_cuda_passes_by_its_number_and_not_by_its_letters() -> None:
    assert fault_of(report(gpu(cuda="12.11")), candidate(), request(min_cuda="12.8")) == ""
    assert fault_of(report(gpu(cuda="13.0")), candidate(), request(min_cuda="12.8")) == ""


def test_every_gpu_of_a_machine_is_looked_at() -> None:
    odd = gpu(index=1, name="NVIDIA A100 80GB PCIe")

    assert "A100" in fault_of(report(gpu(), odd), candidate(gpu_count=2), request())
