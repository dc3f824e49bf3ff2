"""The part of the machines screen that costs money: rented machines, and the keys that end them.

Only machines with this store's mark ever come here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from shared.clean_text import clean_line
from shared.errors import BrightRunError, ProviderError
from shared.number_text import many
from tui.screens.confirm import ConfirmScreen
from tui.screens.console_screen import ConsoleScreen
from tui.screens.steps import StepsScreen
from tui.services.controller.fleet import (
    FleetMachine,
    end_machine,
    ledger_machines,
    our_machines,
    reap,
)
from tui.services.session import Session
from tui.views.fleet_row import fleet_question, fleet_row, fleet_summary
from tui.widgets.fleet_table import FleetTable

_FLEET_INTERVAL_S = 15.0
"""One request of the 60 a minute that the account has."""


class FleetScreenBase(ConsoleScreen[None]):
    """Lists rented machines, and ends those that a person says yes to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R", "reap", "End orphans", tooltip="End every rented machine without a job"),
    ]

    @dataclass
    class FleetSeen(Message):
        """The machines as the provider lists them, or else as the ledger has them."""

        machines: list[FleetMachine]
        trouble: str
        """Why the provider could not be asked."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._fleet: list[FleetMachine] = []
        self._fleet_trouble = ""

    def on_mount(self) -> None:
        self.set_interval(_FLEET_INTERVAL_S, self.look_at_fleet)
        self.look_at_fleet()

    def look_at_fleet(self) -> None:
        """Nothing is asked while another screen is on top."""
        if self.is_seen:
            self._list_fleet()

    @work(group="fleet", exclusive=True)
    async def _list_fleet(self) -> None:
        try:
            try:
                machines = await our_machines(self._session, self._session.provider())
                trouble = ""
            except ProviderError as error:
                machines = await ledger_machines(self._session)
                trouble = str(error)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.post_message(self.FleetSeen(machines, trouble))

    @on(FleetSeen)
    def _on_fleet_seen(self, message: FleetSeen) -> None:
        self._fleet, self._fleet_trouble = message.machines, message.trouble
        now = datetime.now(UTC)
        table = self.query_one(FleetTable)
        had_focus, is_first = table.has_focus, not self.has_class("-fleet")
        table.show([fleet_row(machine, now) for machine in self._fleet])
        # Nobody who rents nothing is told about keys and providers.
        self.set_class(bool(self._fleet), "-fleet")
        table.styles.height = min(len(self._fleet), 8) + 1
        self.query_one("#fleet-title", Static).update(self._fleet_words(), layout=False)
        if had_focus and not self._fleet:
            self.focus_next()
        elif self._fleet and is_first:
            table.focus()
        self.refresh_bindings()

    def _fleet_words(self) -> Text:
        trouble = f"  the ledger's view: {clean_line(self._fleet_trouble)}"
        return Text.assemble(
            ("Rented", "bold"),
            (f"  {fleet_summary(self._fleet)}", "dim"),
            (trouble if self._fleet_trouble else "", "bold yellow"),
            no_wrap=True,
            overflow="ellipsis",
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Orphans can be ended where there are some."""
        return action != "reap" or any(machine.is_orphan for machine in self._fleet)

    @work(group="ending", exclusive=True)
    async def action_end_machine(self) -> None:
        """Ask, then end the rented machine under the cursor; a job's own goes with its job."""
        name = self.query_one(FleetTable).name_under_cursor
        machine = next((item for item in self._fleet if clean_line(item.name) == name), None)
        if machine is None:
            return
        question, detail = fleet_question(machine, datetime.now(UTC))
        if machine.serves and machine.job is not None:
            await self._cancel_instead(machine, question, detail)
            return
        asked = ConfirmScreen(question, detail, yes="End it", no="Leave it", danger=True)
        if await self.app.push_screen_wait(asked):
            await self._see_it_end([machine])

    async def _cancel_instead(self, machine: FleetMachine, question: str, detail: str) -> None:
        """A machine at work is ended in good order: its job is cancelled; the controller acts."""
        from tui.services.rented_jobs import cancel_rented_job

        assert machine.job is not None
        detail = f"{detail}\nThe job is cancelled; the controller ends its machine after that."
        asked = ConfirmScreen(question, detail, yes="Cancel the job", no="Leave it", danger=True)
        if not await self.app.push_screen_wait(asked):
            return
        try:
            await cancel_rented_job(self._session, machine.job, "its machine was to be ended")
        except BrightRunError as error:
            self.complain(error)
        else:
            self.notify("cancelling: the trainer stops, then its machine is ended", markup=False)
        self.console.look_for_jobs()

    @work(group="ending", exclusive=True)
    async def action_reap(self) -> None:
        """Ask, then end every orphan."""
        orphans = [machine for machine in self._fleet if machine.is_orphan]
        if not orphans:
            return
        now = datetime.now(UTC)
        listed = "\n".join(_told(machine, now) for machine in orphans)
        question = f"End {many(len(orphans), 'machine')} without a job?"
        asked = ConfirmScreen(question, listed, yes="End all", no="Leave them", danger=True)
        if await self.app.push_screen_wait(asked):
            await self._see_it_end(orphans)

    async def _see_it_end(self, machines: list[FleetMachine]) -> None:
        """Stays on the screen until the absence of each is proved."""
        names = {machine.name for machine in machines}
        waiting = "It is paid for until it is seen to be gone."
        steps = StepsScreen(f"Ending {many(len(machines), 'machine')}", waiting)
        await self.app.push_screen(steps)
        try:
            provider = self._session.provider()
            if len(machines) == 1:
                await end_machine(self._session, provider, machines[0], steps.tell)
            else:
                # Only those that were shown: what is an orphan since then is asked about anew.
                await reap(
                    self._session, provider, steps.tell, may_end=lambda item: item.name in names
                )
        except BrightRunError as error:
            steps.withdraw()
            self.complain(error)
        else:
            steps.withdraw()
            self.notify(f"{many(len(machines), 'machine')} ended: gone, seen twice", markup=False)
        self.console.look_for_jobs()
        self._list_fleet()


def _told(machine: FleetMachine, now: datetime) -> str:
    row = fleet_row(machine, now)
    return f"{row.name}: {row.label}, {row.price}/h, {row.cost} so far"
