"""What the command palette offers beside what Textual does: the jobs, and the actions on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from shared.clean_text import clean_line

if TYPE_CHECKING:
    from tui.app import BrightRunApp

Command = tuple[str, str, Callable[[], None]]


class ConsoleCommands(Provider):
    """Opens any job by its name or id, starts a new one, and shows datasets and machines."""

    async def discover(self) -> Hits:
        for name, help_text, run in self._commands():
            yield DiscoveryHit(Content(name), run, text=name, help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, help_text, run in self._commands():
            if (score := matcher.match(name)) > 0:
                # Names are foreign text: a Content is shown as it is, a str would be markup.
                yield Hit(score, Content(name), run, text=name, help=help_text)

    def _commands(self) -> Iterator[Command]:
        app = cast("BrightRunApp", self.app)
        yield "New job", "Choose a dataset and start", app.open_new_job
        yield "Datasets", "The training files that were checked here", app.open_datasets
        yield "Hosts", "The machines that jobs run on", app.open_machines
        for news in list(app.news.values()):
            name = f"Open {clean_line(news.job.spec.name)} ({news.job.job_id})"
            yield name, f"{news.job.status}", partial(app.open_job, news.job)
