"""What the command palette offers beside what Textual does: the jobs, and the actions on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from shared.clean_text import clean_line
from tui.screens.console_screen import JobScreenBase
from tui.screens.queue_keys import QueueKeys
from tui.views.queue_line import waits

if TYPE_CHECKING:
    from tui.app import BrightRunApp

Command = tuple[str, str, Callable[[], object]]


class ConsoleCommands(Provider):
    """Opens any job by its name or id, starts a new one, and shows the other screens."""

    async def discover(self) -> Hits:
        for name, help_text, run in self._commands():
            yield DiscoveryHit(Content(name), run, text=name, help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, help_text, run in self._commands():
            if (score := matcher.match(name)) > 0:
                # Names are foreign text: a Content is shown as it is, a str would be markup.
                yield Hit(score, Content(name), run, text=name, help=help_text)

    def _about_the_chosen_job(self) -> Iterator[Command]:
        """What can be done with the job under the cursor."""
        screen = self.screen
        if not isinstance(screen, JobScreenBase) or (job := screen.chosen_job()) is None:
            return
        name = clean_line(job.spec.name)
        yield f"Clone {name}", "The form, filled with this job", screen.action_new_job_like
        if isinstance(screen, QueueKeys) and waits(job):
            yield f"Queue: {name} next", "Before all that wait", screen.action_to_the_front
            yield f"Queue: {name} earlier", "One place forward", screen.action_earlier
            yield f"Queue: {name} later", "One place back", screen.action_later

    def _commands(self) -> Iterator[Command]:
        app = cast("BrightRunApp", self.app)
        yield "New job", "Choose a dataset and start", app.open_new_job
        yield "Datasets", "The training files that were checked here", app.open_datasets
        yield "Hosts", "The machines that jobs run on", app.open_machines
        yield "Models", "Versions: compare, promote, archive, delete", app.open_models
        yield "Costs", "What was spent, and how the month stands", app.open_costs
        yield from self._about_the_chosen_job()
        for sweep_id, count in Counter(n.job.sweep_id for n in app.news.values()).items():
            if sweep_id is not None:
                name = f"Compare sweep {sweep_id}"
                yield name, f"{count} jobs side by side", partial(app.open_sweep, sweep_id)
        for news in list(app.news.values()):
            name = f"Open {clean_line(news.job.spec.name)} ({news.job.job_id})"
            yield name, f"{news.job.status}", partial(app.open_job, news.job)
