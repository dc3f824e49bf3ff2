"""What `nvidia-smi` tells of the GPUs, read out of its XML report; runs nothing itself.

The report is the one form in which the driver, the CUDA version and every GPU come in one call.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from shared.agent_protocol import GpuFacts
from shared.clean_text import clean_line
from shared.errors import ProtocolError
from shared.events import GpuReading

ARGUMENTS = ("-q", "-x")
LARGEST_REPORT_BYTES = 4 * 2**20
"""Eight GPUs make about 100 kB, more with many processes on them."""

_LONGEST_TEXT = 80
_UNKNOWN = {"", "n/a", "[n/a]", "not found", "err!", "unknown error", "[unknown error]"}
"""nvidia-smi's words for what it does not know, such as the load of a GPU that is cut in slices."""


_HELD_BACK = {
    "sw_power_cap": "power cap",
    "hw_power_brake_slowdown": "power brake",
    "hw_thermal_slowdown": "heat",
    "sw_thermal_slowdown": "heat",
}
"""Reasons for lower clocks that are worth telling, by the end of their name: it begins with
`clocks_throttle_reason_`, and with `clocks_event_reason_` since driver 535."""


def parse_report(report: str) -> tuple[GpuFacts, ...]:
    """The GPUs in the order of the report, which is that of their indexes.

    Raises:
        ProtocolError: this is no report of nvidia-smi.
    """
    root = _root(report)
    driver, cuda = _text(root, "driver_version"), _text(root, "cuda_version")
    return tuple(
        GpuFacts(
            index=index,
            name=_text(gpu, "product_name") or "GPU",
            memory_total_mib=_number(gpu, "fb_memory_usage/total"),
            memory_used_mib=_number(gpu, "fb_memory_usage/used"),
            utilisation_percent=_number(gpu, "utilization/gpu_util"),
            driver=driver,
            cuda=cuda,
        )
        for index, gpu in enumerate(root.findall("gpu"))
    )


def parse_readings(report: str) -> tuple[GpuReading, ...]:
    """What each GPU does at the moment, in the same order.

    Of a GPU that is cut in slices (MIG) the load is not told, and its memory is that of the whole.

    Raises:
        ProtocolError: this is no report of nvidia-smi.
    """
    return tuple(
        GpuReading(
            index=index,
            utilisation_percent=_number(gpu, "utilization/gpu_util"),
            memory_used_mib=_number(gpu, "fb_memory_usage/used"),
            memory_total_mib=_number(gpu, "fb_memory_usage/total"),
            temperature_c=_number(gpu, "temperature/gpu_temp"),
            power_w=_power(gpu, "power_draw", "instant_power_draw", "average_power_draw"),
            power_limit_w=_power(gpu, "current_power_limit", "enforced_power_limit", "power_limit"),
            held_back_by=_held_back_by(gpu),
        )
        for index, gpu in enumerate(_root(report).findall("gpu"))
    )


def _power(gpu: ElementTree.Element, *names: str) -> int | None:
    """The first that is told. Driver 535 renamed the element and added those of the module, which
    stand beside it; later ones split the draw in two."""
    for parent in ("gpu_power_readings", "power_readings"):
        for name in names:
            if (watts := _number(gpu, f"{parent}/{name}")) is not None:
                return watts
    return None


def _held_back_by(gpu: ElementTree.Element) -> tuple[str, ...]:
    active = {
        reason.tag.partition("_reason_")[2]
        for parent in ("clocks_event_reasons", "clocks_throttle_reasons")
        for reason in gpu.findall(f"{parent}/*")
        if (reason.text or "").strip() == "Active"
    }
    told = (words for name, words in _HELD_BACK.items() if name in active)
    return tuple(dict.fromkeys(told))


def _root(report: str) -> ElementTree.Element:
    # A true report declares no entities; one that does wants to grow in the parser.
    if len(report) > LARGEST_REPORT_BYTES or "<!ENTITY" in report:
        raise ProtocolError("nvidia-smi printed something else than its report.")
    try:
        root = ElementTree.fromstring(report.strip())
    except ElementTree.ParseError as error:
        raise ProtocolError(
            f"nvidia-smi printed something else than its report ({error})."
        ) from error
    if root.tag != "nvidia_smi_log":
        raise ProtocolError(f"nvidia-smi printed a {clean_line(root.tag)[:_LONGEST_TEXT]!r}.")
    return root


def _text(element: ElementTree.Element, path: str) -> str | None:
    text = clean_line(element.findtext(path, ""))[:_LONGEST_TEXT]
    return None if text.lower() in _UNKNOWN else text


def _number(element: ElementTree.Element, path: str) -> int | None:
    """The whole number in front of a unit: `81559 MiB`, `37 %`."""
    found = re.match(r"(\d{1,12})(?:\.\d+)?(?:\s|$)", _text(element, path) or "", re.ASCII)
    return int(found[1]) if found else None
