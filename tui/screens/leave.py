"""Asks before the console is left while rented jobs go on: what protects the money then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.number_text import many
from tui.screens.confirm import ConfirmScreen

if TYPE_CHECKING:
    from tui.rental_desk import RentalDesk

_PROTECTED = (
    "Each machine goes on training and ends itself when its work is done, at its deadline, or when "
    "its budget is spent; one that is not set up yet ends itself by its own timer."
)
_NOT_WITHOUT = (
    "A lost machine is replaced, and results are brought home, only while a console or "
    "`brightrun serve` runs."
)


class LeaveScreen(ConfirmScreen):
    """True: leave. Nothing of it stops a job."""

    def __init__(self, rentals: RentalDesk) -> None:
        count = len(rentals.open_ones)
        going_on = "goes on" if count == 1 else "go on"
        burn = sum(sight.usd_per_hour for sight in rentals.open_ones)
        price = f" at ${burn:,.2f}/h" if burn else ""
        detail = (
            f"{rentals.control().capitalize()}. It goes on with them as before."
            if rentals.goes_on_without_us()
            else f"{_PROTECTED}\n{_NOT_WITHOUT}"
        )
        question = f"Leave the console? {many(count, 'rented job')} {going_on}{price}."
        super().__init__(question, detail, yes="Leave", no="Stay")
