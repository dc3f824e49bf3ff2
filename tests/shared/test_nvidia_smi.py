from __future__ import annotations

import pytest

from shared.agent_protocol import GpuFacts
from shared.errors import ProtocolError
from shared.nvidia_smi import LARGEST_REPORT_BYTES, parse_report
from tests.fakes.nvidia_smi import TWO_H100


def test_a_report_of_two_h100_is_read() -> None:
    busy, idle = parse_report(TWO_H100)

    assert busy == GpuFacts(
        index=0,
        name="NVIDIA H100 80GB HBM3",
        memory_total_mib=81559,
        memory_used_mib=61234,
        utilisation_percent=98,
        driver="570.86.15",
        cuda="12.8",
    )
    assert (idle.index, idle.memory_used_mib, idle.utilisation_percent) == (1, 2, None)


def test_a_report_without_gpus_is_no_error() -> None:
    assert parse_report("<nvidia_smi_log><attached_gpus>0</attached_gpus></nvidia_smi_log>") == ()


def test_a_gpu_that_fell_off_the_bus_has_unknown_figures() -> None:
    report = TWO_H100.replace("81559 MiB", "Unknown Error").replace("12.8", "ERR!")

    first, _ = parse_report(report)

    assert (first.memory_total_mib, first.cuda) == (None, None)
    assert first.memory_used_mib == 61234


def test_control_sequences_in_a_name_are_taken_out() -> None:
    # XML takes no escape character, but the single character that begins a sequence as well.
    [gpu] = parse_report(
        "<nvidia_smi_log><gpu><product_name>H100\u009b2J\u202e</product_name></gpu></nvidia_smi_log>"
    )

    assert gpu.name == "H100"


@pytest.mark.parametrize(
    "report",
    [
        "",
        "Failed to initialize NVML: Driver/library version mismatch",
        "<html></html>",
        TWO_H100[:500],
        '<!DOCTYPE a [<!ENTITY x "y">]><nvidia_smi_log>&x;</nvidia_smi_log>',
        "<nvidia_smi_log>" + " " * LARGEST_REPORT_BYTES + "</nvidia_smi_log>",
        "\x00\x1b[31m",
    ],
)
def test_anything_else_than_a_report_is_a_protocol_error(report: str) -> None:
    with pytest.raises(ProtocolError, match="nvidia-smi printed"):
        parse_report(report)
