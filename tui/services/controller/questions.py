"""What a rented job asks its user, in words."""

from __future__ import annotations

from shared.machine_request import MachineRequest
from tui.services.rented_jobs import MOVE


def question_of(request: MachineRequest) -> str:
    """For a job that waits; "" where there is no volume to move away from."""
    if request.network_volume_id is None:
        return ""
    places = " or ".join(sorted({c.data_center or "anywhere" for c in request.candidates}))
    monthly = request.network_volume_usd_per_month
    price = "" if monthly is None else f", for ${monthly:.2f} a month"
    return (
        f"No machine is to be had in {places}, where the network volume is. It is tried again by "
        f"itself; nothing is paid for meanwhile but the volume{price}. Answer {MOVE!r} to go on in "
        "another data centre: the newest checkpoint goes along, the job has no volume from then "
        "on, and a lost machine would lose what it trained there."
    )
