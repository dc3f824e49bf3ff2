"""Three ways to look at a job: a live panel on a terminal, plain lines in a log, JSON lines.

Views draw what they are given; they know neither the store nor the agent.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shared.clean_text import clean_line
from shared.event_text import describe_event, describe_record
from shared.events import MEASUREMENTS, JournalRecord, Metrics, encode, utc_now
from shared.job_state import JobState, apply
from shared.number_text import clock, duration, loss, number
from shared.store.stored import Applied, MetricsPoint, StoredJob
from tui.commands.output import say
from tui.commands.sparkline import sparkline
from tui.services.mirror import Unreachable
from tui.views.gpu_lines import gpu_pairs
from tui.views.job_row import STATUS_STYLES
from tui.views.model_progress_lines import model_progress_pairs

_EVENTS_SHOWN = 8
_SPARKLINE_WIDTH = 60
_MONEY_EVERY_S = 300.0
"""In a log, where a line stays."""


class WatchView(Protocol):
    """Shows one job as it goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def begin(
        self, job: StoredJob, metrics: Sequence[MetricsPoint], events: Sequence[JournalRecord]
    ) -> None:
        """The job as the store has it."""

    def applied(self, applied: Applied) -> None:
        """New records; none of them says that the agent answers again."""

    def unreachable(self, unreachable: Unreachable) -> None:
        """The agent stays away; the last figures stand."""

    def money(self, words: str) -> None:
        """What a rented job costs, as of now."""


class _View:
    """Nothing to set up and nothing to clean."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def money(self, words: str) -> None:
        return None


class JsonView(_View):
    """Every record of the job, from its first, as one line of JSON on stdout."""

    def begin(
        self, job: StoredJob, metrics: Sequence[MetricsPoint], events: Sequence[JournalRecord]
    ) -> None:
        self._print(events)

    def applied(self, applied: Applied) -> None:
        self._print(applied.records)

    def unreachable(self, unreachable: Unreachable) -> None:
        say(unreachable_text(unreachable))

    def _print(self, records: Sequence[JournalRecord]) -> None:
        for record in records:
            print(encode(record))
        sys.stdout.flush()


class PlainView(_View):
    """One line a step or event, for pipes and logs."""

    def __init__(self) -> None:
        self._state = JobState()
        self._is_away = False
        self._money_at = 0.0

    def begin(
        self, job: StoredJob, metrics: Sequence[MetricsPoint], events: Sequence[JournalRecord]
    ) -> None:
        for record in events:
            self._print(record)

    def applied(self, applied: Applied) -> None:
        if self._is_away:
            print("the agent answers again", flush=True)
        self._is_away = False
        for record in applied.records:
            self._print(record)

    def unreachable(self, unreachable: Unreachable) -> None:
        if not self._is_away:
            print(unreachable_text(unreachable), flush=True)
        self._is_away = True

    def money(self, words: str) -> None:
        if time.monotonic() >= self._money_at:
            self._money_at = time.monotonic() + _MONEY_EVERY_S
            print(f"cost: {words}", flush=True)

    def _print(self, record: JournalRecord) -> None:
        self._state = apply(self._state, record)
        print(describe_record(record, self._state), flush=True)


class LiveView:
    """A panel that is redrawn in place."""

    def __init__(self) -> None:
        # Twice a second is enough for a person, and cheap over SSH.
        self._live = Live(refresh_per_second=2, redirect_stdout=False, redirect_stderr=False)
        self._losses: dict[int, float | None] = {}
        self._events: deque[JournalRecord] = deque(maxlen=_EVENTS_SHOWN)
        self._unreachable: Unreachable | None = None
        self._money = ""

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def begin(
        self, job: StoredJob, metrics: Sequence[MetricsPoint], events: Sequence[JournalRecord]
    ) -> None:
        self._job = job
        self._losses = {point.step: point.loss for point in metrics if point.tokens is not None}
        self._remember(events)
        self._draw()

    def applied(self, applied: Applied) -> None:
        self._job, self._unreachable = applied.job, None
        self._remember(applied.records)
        self._draw()

    def unreachable(self, unreachable: Unreachable) -> None:
        self._unreachable = unreachable
        self._draw()

    def money(self, words: str) -> None:
        self._money = words
        self._draw()

    def _remember(self, records: Sequence[JournalRecord]) -> None:
        for record in records:
            if isinstance(record.event, Metrics):
                self._losses[record.event.step] = record.event.loss
            elif not isinstance(record.event, MEASUREMENTS):
                self._events.append(record)

    def _draw(self) -> None:
        losses = [self._losses[step] for step in sorted(self._losses)]
        job, now = self._job, utc_now()
        self._live.update(draw(job, losses, self._events, self._unreachable, now, self._money))


def draw(
    job: StoredJob,
    losses: Sequence[float | None],
    events: Sequence[JournalRecord],
    unreachable: Unreachable | None,
    now: datetime,
    money: str = "",
) -> RenderableType:
    """The whole panel, from values alone."""
    state = job.state
    parts: list[RenderableType] = [
        Text.assemble(
            (clean_line(job.spec.name), "bold"),
            f"  {job.job_id}  ",
            (state.status.value, STATUS_STYLES.get(state.status, "")),
            f"  {state.activity or ''} {clean_line(state.detail)}".rstrip(),
        )
    ]
    if unreachable is not None:
        parts.append(Text(unreachable_text(unreachable), style="yellow"))
    parts += [
        Text.assemble((f"{name.ljust(8)}", "dim"), value)
        for name, value in model_progress_pairs(state)
    ]
    if state.total_steps:
        parts.append(_progress(state.step, state.total_steps))
    parts.append(_figures(state))
    if money:
        parts.append(Text.assemble(("cost    ", "dim"), money))
    parts += [
        Text.assemble((f"{name.ljust(8)}", "dim"), value) for name, value in gpu_pairs(state, now)
    ]
    if losses:
        curve = sparkline(losses, _SPARKLINE_WIDTH)
        parts.append(Text.assemble(("loss  ", "dim"), (curve, "cyan")))
    parts += [
        Text(f"{clock(record.time)}  {describe_event(record)}", no_wrap=True, overflow="ellipsis")
        for record in events
    ]
    return Group(*parts)


def unreachable_text(unreachable: Unreachable) -> str:
    """Since when, and that it need not be bad news."""
    reason = clean_line(unreachable.reason)
    return f"unreachable since {clock(unreachable.since)}, the job may well be running ({reason})"


def _progress(step: int, total_steps: int) -> Table:
    """The bar as a row of its own: alone it would not end its line."""
    row = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=total_steps, completed=step, width=_SPARKLINE_WIDTH)
    row.add_row(bar, Text(f"{step / total_steps:.0%}"))
    return row


def _figures(state: JobState) -> Table:
    eta_s = state.eta_s()
    checkpoint = state.last_checkpoint_step
    cells = [
        ("step", f"{state.step}/{state.total_steps or '?'}"),
        ("epoch", f"{state.epoch:.2f}"),
        ("ETA", "–" if eta_s is None else duration(eta_s)),
        ("loss", f"{loss(state.loss)} (first {loss(state.first_loss)})"),
        ("held out", f"{loss(state.eval_loss)} (base {loss(state.base_eval_loss)})"),
        ("lr", number(state.learning_rate, ".2e")),
        ("grad_norm", number(state.grad_norm, ".3g")),
        ("tokens/s", number(state.tokens_per_s, ".0f")),
        ("checkpoint", "–" if checkpoint is None else f"step {checkpoint}"),
    ]
    table = Table.grid(padding=(0, 2))
    for begin in range(0, len(cells), 3):
        row = cells[begin : begin + 3]
        table.add_row(*(Text.assemble((f"{name} ", "dim"), value) for name, value in row))
    return table
