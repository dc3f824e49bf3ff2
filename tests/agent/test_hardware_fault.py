from __future__ import annotations

import pytest

from agent.hardware_fault import hardware_fault


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered",
        "RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution",
        "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.  Reboot the "
        "system to recover this GPU",
        "Unable to determine the device handle for GPU0000:B7:00.0: Unknown Error",
        "NVRM: Xid (PCI:0000:2b:00): 79, GPU has fallen off the bus.",
        "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error",
    ],
)
def test_a_failed_gpu_is_told(line):
    tail = f"Traceback (most recent call last):\n{line}\nCUDA kernel errors might be reported late"
    assert hardware_fault(tail) == line


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "RuntimeError: CUDA error: device-side assert triggered",
        "RuntimeError: CUDA error: unspecified launch failure",
        "RuntimeError: CUDA error: unknown error",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "torch.distributed.DistBackendError: NCCL error: remote process exited or there was a "
        "network error, NCCL version 2.27.5",
        "ValueError: the conversation says that his GPU was lost",
        "",
    ],
)
def test_a_fault_of_the_program_is_none_of_the_hardware(line):
    assert hardware_fault(f"Traceback (most recent call last):\n{line}\n") == ""


def test_a_long_line_is_cut():
    assert len(hardware_fault("GPU is lost " + "x" * 10_000)) == 200
