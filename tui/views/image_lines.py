"""The container image of a rented machine in words, with what is unusual about it."""

from __future__ import annotations

from shared.clean_text import clean_line
from shared.machine_request import DEFAULT_MOUNT_PATH, DEFAULT_START_SCRIPT, MachineRequest
from tui.services.rent_plan import RentWanted


def image_words(asked: RentWanted | MachineRequest) -> str:
    """`REPO/NAME:TAG, started by /opt/start, volume at /data, pulled with credentials ID`."""
    words = [
        asked.image,
        "" if asked.start_script == DEFAULT_START_SCRIPT else f"started by {asked.start_script}",
        "" if asked.mount_path == DEFAULT_MOUNT_PATH else f"volume at {asked.mount_path}",
        "" if asked.registry is None else f"pulled with credentials {asked.registry}",
    ]
    return clean_line(", ".join(filter(None, words)))
