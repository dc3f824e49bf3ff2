"""The files of a job's adapter, as its host lists them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import DataTable, Static

from shared.agent_protocol import ArtifactFile
from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.number_text import size
from shared.store.stored import StoredJob
from tui.services.hosts.host import Host
from tui.services.session import Session
from tui.services.ssh.asker import asking

_NONE_YET = "No verified adapter yet: it is listed here once it has loaded and generated."


class AdapterFiles(Vertical):
    """Asks the agent when it is told of a new adapter; keeps the list while nobody answers."""

    DEFAULT_CSS = """
    AdapterFiles {
        #where { height: auto; padding: 0 1; color: $text-muted; }
        DataTable { height: 1fr; }
    }
    """

    @dataclass
    class Listed(Message):
        """What the agent said."""

        files: tuple[ArtifactFile, ...]
        path: str
        """Of the adapter, on its host."""

    @dataclass
    class NotListed(Message):
        """It could not be asked; the next turn asks again."""

        error: BrightRunError

    def __init__(self, session: Session, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._session = session
        self._asked_for: str | None = None
        self._is_first = True

    def compose(self) -> ComposeResult:
        yield Static(_NONE_YET, id="where", markup=False)
        yield DataTable[Text](cursor_type="row")

    def show(self, job: StoredJob) -> None:
        """Have the files of this job's adapter listed, once."""
        state = job.state
        if state.adapter_verified and state.adapter_manifest_sha256 != self._asked_for:
            self._asked_for = state.adapter_manifest_sha256
            self._list(job)

    @work(exclusive=True)
    async def _list(self, job: StoredJob) -> None:
        try:
            host = self._session.host_of(job)
            await self._reach(host)
            async with host.client() as client:
                files = (await client.artifacts(job.job_id)).files
        except BrightRunError as error:
            self.post_message(self.NotListed(error))
        else:
            self.post_message(self.Listed(files, job.state.adapter_path or ""))

    async def _reach(self, host: Host) -> None:
        """A person has opened the list, and may be asked once; later turns come by themselves."""
        is_first, self._is_first = self._is_first, False
        with asking() if is_first else nullcontext():
            await host.ensure_agent()

    @on(Listed)
    def _on_listed(self, message: Listed) -> None:
        total = size(sum(file.size_bytes for file in message.files))
        words = f"It loads and generates; f fetches it. {total} on the host: {message.path}"
        self.query_one("#where", Static).update(Text(clean_line(words)))
        self._fill(message.files)

    @on(NotListed)
    def _on_not_listed(self, message: NotListed) -> None:
        self._asked_for = None
        words = Text(clean_line(str(message.error)), style="yellow")
        self.query_one("#where", Static).update(words)

    def _fill(self, files: tuple[ArtifactFile, ...]) -> None:
        table = self.query_one(DataTable)
        table.clear(columns=True)
        paths = [clean_line(file.path) for file in files]
        table.add_column("FILE", width=max(map(cell_len, paths)))
        table.add_column("SIZE", width=9)
        table.add_column("SHA-256", width=64)
        for path, file in sorted(zip(paths, files, strict=True), key=lambda pair: pair[0]):
            table.add_row(
                Text(path),
                Text(size(file.size_bytes), justify="right"),
                Text(file.sha256, style="dim"),
            )
