"""The files of a job's adapter, as its host lists them."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from time import monotonic
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import DataTable, Static

from shared.agent_protocol import ArtifactFile
from shared.clean_text import clean_line
from shared.errors import BrightRunError, InvalidInput, StoreError
from shared.lifecycle import JobStatus
from shared.number_text import size
from shared.store.stored import StoredJob
from shared.store.uploads import StoredUpload
from tui.services.hosts.host import Host
from tui.services.session import Session
from tui.services.ssh.asker import asking
from tui.services.supabase.settings import load_settings
from tui.views.upload_lines import upload_lines

_UPLOADS_LOOK_S = 1.0
_LINK_S = 7 * 86400
_NONE_YET = "No verified adapter yet: it is listed here once it has loaded and generated."


class AdapterFiles(Vertical):
    """Asks the agent when it is told of a new adapter; keeps the list while nobody answers."""

    DEFAULT_CSS = """
    AdapterFiles {
        #where { height: auto; padding: 0 1; color: $text-muted; }
        #uploads { height: auto; padding: 0 1; color: $text-muted; display: none; }
        #said { height: auto; padding: 0 1; display: none; }
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

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "upload", "Upload", tooltip="To the web application's storage, now"),
        Binding("k", "link", "Link", tooltip="Anybody with it reads the adapter for 7 days"),
    ]

    @dataclass
    class Uploaded(Message):
        """How far the files are on their way to the web application."""

        uploads: list[StoredUpload]

    @dataclass
    class Said(Message):
        """What came of a key; a link is to be marked and copied."""

        words: str
        is_trouble: bool = False

    def __init__(self, session: Session, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._session = session
        self._job: StoredJob | None = None
        self._looked_at = 0.0
        self._has_project = _has_project()
        self._asked_for: str | None = None
        self._is_first = True

    def compose(self) -> ComposeResult:
        yield Static(_NONE_YET, id="where", markup=False)
        yield Static(id="uploads", markup=False)
        yield Static(id="said", markup=False)
        yield DataTable[Text](cursor_type="row")

    def show(self, job: StoredJob) -> None:
        """Have the files of this job's adapter listed, once."""
        had, self._job, state = self._job, job, job.state
        if had is None or had.status != job.status:
            self.refresh_bindings()
        if state.adapter_verified and state.adapter_manifest_sha256 != self._asked_for:
            self._asked_for = state.adapter_manifest_sha256
            self._list(job)
        if monotonic() - self._looked_at > _UPLOADS_LOOK_S:
            self._looked_at = monotonic()
            self._look_for_uploads(job.job_id)

    @work(exclusive=True, group="uploads")
    async def _look_for_uploads(self, job_id: str) -> None:
        with suppress(StoreError):  # The next look comes; whatever else needs the store says so.
            self.post_message(self.Uploaded(await self._session.store.uploads.of_job(job_id)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Both keys need a project, and a job that has left an adapter."""
        if action not in ("upload", "link"):
            return True
        job = self._job
        return self._has_project and job is not None and job.status is JobStatus.COMPLETED

    @work(exclusive=True, group="keys")
    async def action_upload(self) -> None:
        """Upload what is not there yet, and read it back."""
        from tui.services.artifact_uploads.asked import upload_now

        assert self._job is not None
        self.post_message(self.Said("uploading …"))
        try:
            await upload_now(self._session, self._job)
        except BrightRunError as error:
            self.post_message(self.Said(str(error), is_trouble=True))
        else:
            self.post_message(self.Said(""))

    @work(exclusive=True, group="keys")
    async def action_link(self) -> None:
        """Show a link to the adapter's weights, and put it into the clipboard."""
        from tui.services.artifact_uploads.fetching import MAIN_FILE, link_to

        assert self._job is not None
        try:
            url = await link_to(self._session, self._job.job_id, MAIN_FILE, _LINK_S)
        except BrightRunError as error:
            self.post_message(self.Said(str(error), is_trouble=True))
        else:
            self.app.copy_to_clipboard(url)
            self.post_message(self.Said(f"for 7 days, in the clipboard: {url}"))

    @on(Said)
    def _on_said(self, message: Said) -> None:
        words = Text(clean_line(message.words), style="yellow" if message.is_trouble else "")
        shown = self.query_one("#said", Static)
        shown.update(words)
        shown.display = bool(message.words)

    @on(Uploaded)
    def _on_uploaded(self, message: Uploaded) -> None:
        lines = upload_lines(message.uploads)
        shown = self.query_one("#uploads", Static)
        shown.update(Text("\n".join(lines)))
        shown.display = bool(lines)

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


def _has_project() -> bool:
    try:
        return load_settings() is not None
    except InvalidInput:  # The background says what is wrong with it.
        return False
