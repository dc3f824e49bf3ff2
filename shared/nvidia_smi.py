"""What `nvidia-smi` tells of the GPUs, read out of its XML report; runs nothing itself.

The report is the one form in which the driver, the CUDA version and every GPU come in one call.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from shared.agent_protocol import GpuFacts
from shared.clean_text import clean_line
from shared.errors import ProtocolError

ARGUMENTS = ("-q", "-x")
LARGEST_REPORT_BYTES = 4 * 2**20
"""Eight GPUs make about 100 kB, more with many processes on them."""

_LONGEST_TEXT = 80
_UNKNOWN = {"", "n/a", "[n/a]", "not found", "err!", "unknown error", "[unknown error]"}
"""nvidia-smi's words for what it does not know, such as the load of a GPU that is cut in slices."""


def parse_report(report: str) -> tuple[GpuFacts, ...]:
    """The GPUs in the order of the report, which is that of their indexes.

    Raises:
        ProtocolError: this is no report of nvidia-smi.
    """
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


def _text(element: ElementTree.Element, path: str) -> str | None:
    text = clean_line(element.findtext(path, ""))[:_LONGEST_TEXT]
    return None if text.lower() in _UNKNOWN else text


def _number(element: ElementTree.Element, path: str) -> int | None:
    """The whole number in front of a unit: `81559 MiB`, `37 %`."""
    found = re.match(r"(\d{1,12})(?:\.\d+)?(?:\s|$)", _text(element, path) or "", re.ASCII)
    return int(found[1]) if found else None
