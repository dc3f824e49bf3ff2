from __future__ import annotations

import pytest

from shared.agent_protocol import GpuFacts
from shared.errors import ProtocolError
from shared.events import GpuReading
from shared.nvidia_smi import LARGEST_REPORT_BYTES, parse_readings, parse_report
from tests.fakes.nvidia_smi import SLICED_A100, TWO_H100, gpu, report_of


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


def test_what_a_gpu_does_is_read() -> None:
    busy, hot = parse_readings(
        report_of(gpu(), gpu(reasons="sw_power_cap hw_thermal_slowdown sw_thermal_slowdown"))
    )

    assert busy == GpuReading(
        index=0,
        utilisation_percent=98,
        memory_used_mib=61234,
        memory_total_mib=81559,
        temperature_c=71,
        power_w=655,
        power_limit_w=700,
    )
    assert (hot.index, hot.held_back_by) == (1, ("power cap", "heat"))


@pytest.mark.parametrize("unknown", ["N/A", "[N/A]", "[Not Supported]", "ERR!", "Unknown Error"])
def test_what_the_driver_does_not_tell_is_unknown_and_never_zero(unknown: str) -> None:
    [found] = parse_readings(report_of(gpu(unknown, unknown, unknown, unknown)))

    assert found == GpuReading(index=0, memory_total_mib=81559, power_limit_w=700)


def test_a_gpu_in_slices_has_its_own_memory_and_no_load() -> None:
    [found] = parse_readings(SLICED_A100)

    assert (found.utilisation_percent, found.memory_used_mib) == (None, 50)
    assert (found.temperature_c, found.power_w, found.power_limit_w) == (27, 67, 500)


def test_the_elements_of_older_drivers_are_read_as_well() -> None:
    [found] = parse_readings(
        """<nvidia_smi_log><gpu>
        <clocks_throttle_reasons>
            <clocks_throttle_reason_hw_slowdown>Active</clocks_throttle_reason_hw_slowdown>
            <clocks_throttle_reason_sw_power_cap>Active</clocks_throttle_reason_sw_power_cap>
        </clocks_throttle_reasons>
        <power_readings>
            <power_draw>26.78 W</power_draw><enforced_power_limit>70.00 W</enforced_power_limit>
        </power_readings></gpu></nvidia_smi_log>"""
    )

    assert (found.power_w, found.power_limit_w) == (26, 70)
    assert found.held_back_by == ("power cap",)


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
