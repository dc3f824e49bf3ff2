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
