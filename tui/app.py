"""The full-screen console: opens the services after the first paint, and routes between screens.

Nothing heavy is imported here: SQLAlchemy, pydantic, httpx and websockets take a second, and come
in a thread once the first screen stands.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.signal import Signal

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.lifecycle import JobStatus
from tui.console_asker import ConsoleAsker
from tui.crash_safe_app import CrashSafeApp
from tui.mirror_line import MirrorLine
from tui.palette import ConsoleCommands
from tui.rental_desk import RentalDesk
from tui.screens.jobs import JobsScreen
from tui.screens.leave import LeaveScreen
from tui.terminal_notices import TerminalNotices

if TYPE_CHECKING:
    from shared.store.stored import StoredJob
    from tui.config import Config
    from tui.demo import DemoOptions
    from tui.services.feed import JobFeed, JobNews
    from tui.services.session import Session
    from tui.views.job_draft import JobDraft
    from tui.views.rent_draft import RentDraft

_SERVICES = ("tui.services.feed", "tui.services.session")
_SOON = ("tui.screens.job", "tui.services.jobs", "tui.screens.new_job")
"""What the next key probably needs, once the jobs are shown."""

_HOST_QUEUE = "tui.services.host_queue"
_BACKGROUND = "tui.services.background"

_RECENT = timedelta(minutes=1)
_LONGEST_ALERT = 200


logger = logging.getLogger(__name__)


class BrightRunApp(CrashSafeApp[None]):
    """Quitting it stops no job, and opening it again shows everything that happened meanwhile."""

    TITLE = "brightrun"
    CSS_PATH = "app.tcss"
    COMMANDS = App.COMMANDS | {lambda: ConsoleCommands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", tooltip="Leave the console; jobs go on"),
        Binding("question_mark", "toggle_help", "Help", key_display="?"),
    ]

    def __init__(
        self, config: Config, *, job: str | None = None, demo: DemoOptions | None = None
    ) -> None:
        super().__init__(config.home / "crashes")
        self.config = config
        self.session: Session | None = None
        """None until the store is open."""
        self.news: dict[str, JobNews] = {}
        """What was last heard of each job."""
        self.job_news: Signal[JobNews] = Signal(self, "job news")
        self.rentals = RentalDesk(self)
        self.mirror_line = MirrorLine()
        self._feed: JobFeed | None = None
        self._asker = ConsoleAsker(self)
        self._services: asyncio.Task[None] | None = None
        self._first_job = job
        self._demo = demo
        self._jobs_screen = JobsScreen()

    def get_default_screen(self) -> Screen[Any]:
        return self._jobs_screen

    def on_mount(self) -> None:
        self.call_after_refresh(self._serve)

    async def on_unmount(self) -> None:
        """Let the store be closed before the loop is."""
        self._asker.close()
        if self._services is not None:
            self._services.cancel()
            await asyncio.gather(self._services, return_exceptions=True)

    @work
    async def _serve(self) -> None:
        self._services = asyncio.create_task(self._run_services())
        # Textual cancels its workers more than once; the store is to be closed in peace.
        await asyncio.shield(self._services)

    async def _run_services(self) -> None:
        """Everything that is not on the screen."""
        for name in _SERVICES:
            await asyncio.to_thread(importlib.import_module, name)
        from tui.services.feed import JobFeed
        from tui.services.session import open_session

        try:
            async with (
                open_session(self.config, asker=self._asker) as session,
                asyncio.TaskGroup() as group,
            ):
                self.session = session
                self._feed = JobFeed(session, self._tell, on_trouble=self._on_trouble)
                opened = partial(self._opened, partial(self._rent, group, session))
                await self._feed.run(on_first_look=opened)
        except* BrightRunError as errors:
            self._jobs_screen.show_trouble(clean_line(str(errors.exceptions[0])))
        finally:
            self.session = None

    def _tell(self, news: JobNews) -> None:
        earlier = self.news.get(news.job.job_id)
        self.news[news.job.job_id] = news
        self.job_news.publish(news)
        if earlier is not None and news.job.status.is_final and not earlier.job.status.is_final:
            self._notify_end(news.job)
        self._notify_alert(news)

    @work
    async def _prepare_next(self) -> None:
        for name in _SOON:
            await asyncio.to_thread(importlib.import_module, name)
        if not gc.isenabled():
            # What is loaded by now stays: a full collection need not look at it again (0.2 s).
            gc.freeze()
            gc.enable()

    def _rent(self, group: asyncio.TaskGroup, session: Session) -> None:
        group.create_task(self.rentals.run(session))
        group.create_task(self._give_turns(session))
        group.create_task(self._send_outward(session))
        group.create_task(self.mirror_line.run(session))
        group.create_task(TerminalNotices(self).run(session))

    async def _give_turns(self, session: Session) -> None:
        """Hand queued jobs over to hosts of the user's own."""
        await asyncio.to_thread(importlib.import_module, _HOST_QUEUE)
        from tui.services.host_queue import HostQueue

        await HostQueue(session, on_news=self._on_queue_news).run()

    async def _send_outward(self, session: Session) -> None:
        """Mirror, uploads, webhooks and messages, unless `brightrun serve` does it."""
        await asyncio.to_thread(importlib.import_module, _BACKGROUND)
        from tui.services.background import Background

        await Background(session, "console", say=logger.info).run()

    def _on_queue_news(self, words: str) -> None:
        logger.info("%s", words)
        self.look_for_jobs()

    def _opened(self, then: Callable[[], None]) -> None:
        # After the news that were sent to it just now.
        self._jobs_screen.call_next(self._jobs_screen.opened)
        self._prepare_next()
        then()
        if self._demo is not None:
            self._start_demo(self._demo)
        elif self._first_job is not None:
            self._open_first_job(self._first_job)

    def _on_trouble(self, text: str) -> None:
        self._jobs_screen.show_trouble(clean_line(text))

    def _notify_end(self, job: StoredJob) -> None:
        outcome = clean_line(f"{job.spec.name}: {job.error_message or job.status.value}")
        is_well = job.error_message is None
        self.notify(outcome, severity="information" if is_well else "error", markup=False)

    def _notify_alert(self, news: JobNews) -> None:
        """What a trainer warns of at its work; what was missed is in the job's events."""
        since = datetime.now(UTC) - _RECENT
        alerts = [
            record.event.message
            for record in news.records
            if record.event.kind == "log" and record.event.level != "info" and record.time > since
        ]
        if alerts and news.job.status is JobStatus.TRAINING:
            more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
            words = clean_line(f"{news.job.spec.name}: {alerts[-1]}")[:_LONGEST_ALERT]
            self.notify(words + more, severity="warning", timeout=10, markup=False)

    @work
    async def _open_first_job(self, job_id: str) -> None:
        if self.session is None:
            return
        try:
            self.open_job(await self.session.store.get_job(job_id))
        except BrightRunError as error:
            self._jobs_screen.complain(error)

    @work
    async def _start_demo(self, options: DemoOptions) -> None:
        from tui.services.demo import start_demo

        if self.session is None:
            return
        try:
            job = await start_demo(self.session, options)
        except BrightRunError as error:
            self._jobs_screen.complain(error)
        else:
            self.look_for_jobs()
            self.open_job(job)

    def look_for_jobs(self) -> None:
        """This process has changed a job: show it without waiting for the next look."""
        if self._feed is not None:
            self._feed.look_now()
        self.rentals.look_now()

    def open_job(self, job: StoredJob) -> None:
        """Show one job, in place of another one; a form that is being filled in stays below."""
        from tui.screens.job import JobScreen

        while isinstance(self.screen, JobScreen):
            self.pop_screen()
        self.push_screen(JobScreen(job))

    def open_new_job(self, draft: JobDraft | None = None, rent: RentDraft | None = None) -> None:
        """The form for a new job, and what its machine's form begins with.

        The job that was started is shown.
        """
        if self.session is None:
            return
        from tui.screens.new_job import NewJobScreen
        from tui.views.job_draft import JobDraft

        draft = draft or JobDraft(host=self.config.default_host)
        self.push_screen(NewJobScreen(self.session, draft, rent), self._on_new_job)

    def open_machines(self) -> None:
        """The machines that jobs run on."""
        if self.session is None:
            return
        from tui.screens.machines import MachinesScreen

        self.push_screen(MachinesScreen(self.session))

    def open_datasets(self) -> None:
        """The training files that were checked here."""
        if self.session is None:
            return
        from tui.screens.datasets import DatasetsScreen

        self.push_screen(DatasetsScreen(self.session))

    def open_models(self) -> None:
        """What jobs have made, as versions of models."""
        if self.session is None:
            return
        from tui.screens.models import ModelsScreen

        self.push_screen(ModelsScreen(self.session))

    def open_costs(self) -> None:
        """What was spent, and how the month stands."""
        if self.session is None:
            return
        from tui.screens.costs import CostsScreen

        self.push_screen(CostsScreen(self.session))

    @work
    async def open_sweep(self, sweep_id: str) -> None:
        """The jobs of a sweep beside each other, in place of one of them."""
        if self.session is None:
            return
        from tui.screens.job import JobScreen
        from tui.screens.sweep import SweepScreen

        try:
            sweep = await self.session.store.sweeps.find(sweep_id)
        except BrightRunError as error:
            self._jobs_screen.complain(error)
            return
        while isinstance(self.screen, JobScreen | SweepScreen):
            self.pop_screen()
        self.push_screen(SweepScreen(self.session, sweep))

    def _on_new_job(self, job_id: str | None) -> None:
        if job_id is not None:
            self.look_for_jobs()
            self._open_first_job(job_id)

    async def action_quit(self) -> None:
        """Leave; say first what becomes of rented jobs. Asked again meanwhile, leave at once."""
        if not self.rentals.open_ones or isinstance(self.screen, LeaveScreen):
            self.exit()
        else:
            self.push_screen(LeaveScreen(self.rentals), self._leave_if_sure)

    def _leave_if_sure(self, is_sure: bool | None) -> None:
        if is_sure:
            self.exit()

    def action_toggle_help(self) -> None:
        """Show or hide what the keys do here."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()
