"""Stands in for `nvidia-smi`: a script on PATH that prints a report, or does what bad ones do."""

from __future__ import annotations

from pathlib import Path

TWO_H100 = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
	<timestamp>Sun Nov 22 21:36:02 2026</timestamp>
	<driver_version>570.86.15</driver_version>
	<cuda_version>12.8</cuda_version>
	<attached_gpus>2</attached_gpus>
	<gpu id="00000000:18:00.0">
		<product_name>NVIDIA H100 80GB HBM3</product_name>
		<product_architecture>Hopper</product_architecture>
		<minor_number>0</minor_number>
		<fb_memory_usage>
			<total>81559 MiB</total>
			<reserved>551 MiB</reserved>
			<used>61234 MiB</used>
			<free>19774 MiB</free>
		</fb_memory_usage>
		<bar1_memory_usage>
			<total>131072 MiB</total>
			<used>1 MiB</used>
			<free>131071 MiB</free>
		</bar1_memory_usage>
		<utilization>
			<gpu_util>98 %</gpu_util>
			<memory_util>41 %</memory_util>
		</utilization>
	</gpu>
	<gpu id="00000000:2A:00.0">
		<product_name>NVIDIA H100 80GB HBM3</product_name>
		<product_architecture>Hopper</product_architecture>
		<minor_number>1</minor_number>
		<fb_memory_usage>
			<total>81559 MiB</total>
			<reserved>551 MiB</reserved>
			<used>2 MiB</used>
			<free>81006 MiB</free>
		</fb_memory_usage>
		<utilization>
			<gpu_util>N/A</gpu_util>
			<memory_util>N/A</memory_util>
		</utilization>
	</gpu>
</nvidia_smi_log>
"""

SLICED_A100 = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
    <driver_version>535.54.03</driver_version>
    <cuda_version>12.2</cuda_version>
    <attached_gpus>1</attached_gpus>
    <gpu id="00000000:01:00.0">
        <product_name>NVIDIA A100-SXM4-80GB</product_name>
        <mig_mode><current_mig>Enabled</current_mig><pending_mig>Enabled</pending_mig></mig_mode>
        <mig_devices>
            <mig_device>
                <index>0</index>
                <fb_memory_usage><total>19968 MiB</total><used>12 MiB</used></fb_memory_usage>
            </mig_device>
        </mig_devices>
        <fb_memory_usage>
            <total>81920 MiB</total><reserved>869 MiB</reserved>
            <used>50 MiB</used><free>80999 MiB</free>
        </fb_memory_usage>
        <utilization><gpu_util>N/A</gpu_util><memory_util>N/A</memory_util></utilization>
        <temperature><gpu_temp>27 C</gpu_temp><memory_temp>44 C</memory_temp></temperature>
        <gpu_power_readings>
            <power_state>P0</power_state>
            <power_draw>67.03 W</power_draw>
            <current_power_limit>500.00 W</current_power_limit>
        </gpu_power_readings>
        <module_power_readings><power_draw>N/A</power_draw></module_power_readings>
    </gpu>
</nvidia_smi_log>
"""
"""Cut into slices (MIG), whose load the driver does not tell: the elements of driver 535."""


def report_of(*gpus: str) -> str:
    """A report of these `<gpu>` elements."""
    return f"<nvidia_smi_log>{''.join(gpus)}</nvidia_smi_log>"


def gpu(
    load: str = "98 %",
    used: str = "61234 MiB",
    temperature: str = "71 C",
    power: str = "655.32 W",
    *,
    reasons: str = "",
) -> str:
    """One H100 by the elements of drivers since 550, as it is with these words."""
    active = "".join(
        f"<clocks_event_reason_{name}>Active</clocks_event_reason_{name}>"
        for name in reasons.split()
    )
    return f"""<gpu id="00000000:18:00.0">
        <product_name>NVIDIA H100 80GB HBM3</product_name>
        <clocks_event_reasons>
            <clocks_event_reason_gpu_idle>Not Active</clocks_event_reason_gpu_idle>{active}
        </clocks_event_reasons>
        <fb_memory_usage><total>81559 MiB</total><used>{used}</used></fb_memory_usage>
        <utilization><gpu_util>{load}</gpu_util></utilization>
        <temperature><gpu_temp>{temperature}</gpu_temp></temperature>
        <gpu_power_readings>
            <power_state>Requested functionality has been deprecated</power_state>
            <average_power_draw>{power}</average_power_draw>
            <instant_power_draw>{power}</instant_power_draw>
            <current_power_limit>700.00 W</current_power_limit>
        </gpu_power_readings>
    </gpu>"""


def install(directory: Path, script: str) -> Path:
    """Put an `nvidia-smi` that is this shell script into the directory; the directory for PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return directory


def printing(report: str) -> str:
    """A script that prints the report to whoever asks as we do, and fails for others."""
    return f"[ \"$*\" = '-q -x' ] || exit 2\ncat <<'REPORT'\n{report}\nREPORT"
