"""The machines that jobs run on: who answers, what is free there, what runs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import DataTable, Footer, Static

from shared.errors import BrightRunError, InvalidInput
from shared.store.stored import StoredHost
from tui.screens.fleet_screen import FleetScreenBase
from tui.services.machines import (
    LOOK_TIMEOUT_S,
    MachineSight,
    MachineState,
    known_machines,
    look_at,
)
from tui.services.session import Session
from tui.services.ssh.asker import asking
from tui.views.machine_details import machine_details
from tui.views.machine_row import machine_row
from tui.widgets.fleet_table import FleetTable
from tui.widgets.machine_table import MachineTable

_INTERVAL_S = 10.0
_PERSON_TIMEOUT_S = 300.0
"""For a look in which somebody may have to find a passphrase first."""
_LOOKING = "looking …"


class MachinesScreen(FleetScreenBase):
    """Starts and installs nothing; asks a person where F5 was pressed, or before a machine ends."""

    HELP = """
    # Hosts

    This machine, and every one that jobs ran on. What one said last stays while it does not
    answer. F5 connects to the chosen one, and may ask for a passphrase or about its host key.

    Above them stands every machine that is rented for this store's jobs. One without a job is red:
    x ends it, R ends all of them. Both ask first, and wait until the machine is seen to be gone.
    """
    CSS = """
    MachinesScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #fleet-title { height: 1; background: $panel; padding: 0 1; display: none; }
        FleetTable { height: auto; background: $background; display: none; }
        &.-fleet #fleet-title, &.-fleet FleetTable { display: block; }
        #machines { height: 1fr; background: $background; }
        #details { height: auto; max-height: 50%; padding: 1 2 0 2; display: none; }
        #details { border-top: solid $panel; }
        &.-details #details { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5", "connect", "Connect", tooltip="Look now; may ask for what it takes"),
        Binding("escape", "back", "Back"),
    ]
    AUTO_FOCUS = "#machines"

    @dataclass
    class Known(Message):
        """The machines that there are, as the store has them."""

        names: list[str]
        hosts: dict[str, StoredHost]

    @dataclass
    class Seen(Message):
        """What a look has shown."""

        sight: MachineSight

    @dataclass
    class Failed(Message):
        """The store cannot be read."""

        error: BrightRunError

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._sights: dict[str, MachineSight] = {}
        self._at_work: set[tuple[str, bool]] = set()
        """Machines that are being looked at, and whether a person wants that."""

    def compose(self) -> ComposeResult:
        title = Text.assemble(("Hosts", "bold"), ("  the machines that jobs run on", "dim"))
        yield Static(id="fleet-title", markup=False)
        yield FleetTable(id="fleet")
        yield Static(title, id="title", markup=False)
        yield MachineTable(id="machines")
        with VerticalScroll(id="details", can_focus=False):
            yield Static(id="pairs", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.set_interval(_INTERVAL_S, self._look_around)
        self._look_around()

    def _look_around(self) -> None:
        """Nobody is asked, and nothing is done while another screen is on top."""
        if self.is_seen:
            self._list()

    @work(group="list", exclusive=True)
    async def _list(self) -> None:
        store = self._session.store
        try:
            names = await known_machines(store)
            hosts = {host.name: host for host in await store.hosts()}
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Known(names, hosts))

    @on(Known)
    def _on_known(self, message: Known) -> None:
        if not self.is_seen:
            return
        for name in message.names:
            if name not in self._sights:
                known = message.hosts.get(name, StoredHost(name))
                self._sights[name] = MachineSight(name, MachineState.UNREACHABLE, known)
                self._draw(name, state=_LOOKING)
            self._begin(name, by_person=False)
        self._draw_details()

    def _begin(self, name: str, *, by_person: bool) -> None:
        if (name, by_person) not in self._at_work:
            self._at_work.add((name, by_person))
            self._look(name, by_person)

    @work(group="look")
    async def _look(self, name: str, by_person: bool) -> None:
        try:
            host = self._session.hosts.get(name)
            timeout_s = _PERSON_TIMEOUT_S if by_person else LOOK_TIMEOUT_S
            with asking() if by_person else nullcontext():
                sight = await look_at(host, self._session.store, timeout_s=timeout_s)
        except InvalidInput as error:
            known = StoredHost(name)
            sight = MachineSight(name, MachineState.UNREACHABLE, known, reason=str(error))
        except BrightRunError as error:
            self.post_message(self.Failed(error))
            return
        finally:
            self._at_work.discard((name, by_person))
        self.post_message(self.Seen(sight))

    @on(Seen)
    def _on_seen(self, message: Seen) -> None:
        self._sights[message.sight.name] = message.sight
        self._draw(message.sight.name)
        self._draw_details()

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        self.complain(message.error)

    @on(MachineTable.Highlighted)
    def _on_highlighted(self) -> None:
        self._draw_details()

    @on(DataTable.RowSelected, "#machines")
    def action_toggle_details(self) -> None:
        """All that is known of the machine under the cursor, or only the table."""
        self.toggle_class("-details")
        self._draw_details()

    def action_connect(self) -> None:
        """Look at the machine under the cursor now; a person is there to be asked."""
        name = self.query_one(MachineTable).name_under_cursor
        if name is not None:
            self._draw(name, state=_LOOKING)
            self._begin(name, by_person=True)

    def action_back(self) -> None:
        self.dismiss()

    def _draw(self, name: str, *, state: str = "") -> None:
        """The machine's row; `state` stands there instead of what was last seen."""
        row = machine_row(self._sights[name], datetime.now(UTC))
        self.query_one(MachineTable).put(name, replace(row, state=state or row.state))

    def _draw_details(self) -> None:
        name = self.query_one(MachineTable).name_under_cursor
        sight = None if name is None else self._sights.get(name)
        if sight is None or not self.has_class("-details"):
            return
        pairs = Table.grid(padding=(0, 2))
        pairs.add_column(style="dim", no_wrap=True)
        for label, value in machine_details(sight):
            pairs.add_row(Text(label), Text(value))
        self.query_one("#pairs", Static).update(pairs)
