"""The head of the job screen: what the job is, how far it is, and its stages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from shared.advice.suggestion import Suggestion
from shared.clean_text import clean_line
from shared.number_text import clock, duration
from shared.stages import StageTime
from shared.store.stored import StoredJob
from tui.services.hosts.names import LOCAL, shown_host
from tui.services.mirror import Unreachable
from tui.services.rental_watch import RentalSight
from tui.views.job_figures import time_left
from tui.views.job_row import STATUS_STYLES, status_words
from tui.views.money_lines import money_of_sight, money_words
from tui.views.rental_status import RentalStatus, rental_status
from tui.views.suggestion_lines import changes_in_words

_SHORTEST_BAR = 10


class JobHeader(Static):
    """Three lines, and more where something is wrong or could be better."""

    DEFAULT_CSS = """
    JobHeader { height: auto; background: $panel; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._line_count = 0

    def show(
        self,
        job: StoredJob,
        stages: Sequence[StageTime],
        unreachable: Unreachable | None,
        now: datetime,
        suggestions: Sequence[Suggestion] = (),
        rented: RentalSight | None = None,
    ) -> None:
        """Draw the job as it is at `now`, what its end suggests, and how its machine stands."""
        width = max(self.content_region.width, 20)
        standing = None if rented is None else rental_status(rented, now)
        if standing is not None and standing.activity:
            unreachable = None  # There is no agent yet, or not any more.
        lines = [
            _title(job, width, standing),
            _progress(job, width, now),
            _stages(stages, width),
            *_rent(job, standing, "" if rented is None else _money(job, rented, now)),
            *_trouble(job, unreachable),
            *_suggested(job, suggestions),
        ]
        lines_drawn = Table.grid(expand=True)
        lines_drawn.add_column(no_wrap=True, overflow="ellipsis")
        for line in lines:
            lines_drawn.add_row(line)
        # Only another line moves what is below: a layout twice a second costs a tenth of a core.
        self.update(lines_drawn, layout=len(lines) != self._line_count)
        self._line_count = len(lines)


def _title(job: StoredJob, width: int, standing: RentalStatus | None) -> Text:
    state = job.state
    # "training: training" says it twice.
    activity = state.activity if state.activity != state.status.value else None
    doing = " ".join(filter(None, [activity, clean_line(state.detail)]))
    if standing is not None and standing.activity:
        doing = standing.activity
    if state.status.is_final:
        doing = ""
    attempt = f"attempt {state.attempt}" if state.attempt > 1 else ""
    name = Text(clean_line(job.spec.name), style="bold", no_wrap=True)
    rest = Text.assemble(
        "  ",
        (status_words(state.status), f"bold {STATUS_STYLES.get(state.status, '')}".strip()),
        ("  " + doing if doing else "", ""),
        ("  " + attempt if attempt else "", "yellow"),
        ("  " + job.job_id, "dim"),
        ("" if job.host == LOCAL else f" on {shown_host(job.host)}", "dim"),
        no_wrap=True,
    )
    name.truncate(max(width - rest.cell_len, width // 3), overflow="ellipsis")
    return name + rest


def _progress(job: StoredJob, width: int, now: datetime) -> Text:
    """`━━━━━━────  46 %  step 18/39  epoch 1.38/3  ETA 0:00:12  0:00:31 so far`."""
    state = job.state
    share = state.step / state.total_steps if state.total_steps else 0.0
    words = [f"{share:4.0%}"]
    if state.total_steps:
        words.append(f"step {state.step}/{state.total_steps}")
        words.append(f"epoch {state.epoch:.2f}/{job.spec.hyperparameters.num_epochs}")
    if left := time_left(job):
        words.append(left)
    if state.started_at is not None:
        seconds = ((state.ended_at or now) - state.started_at).total_seconds()
        words.append(f"{duration(max(seconds, 0.0))} {'in all' if state.ended_at else 'so far'}")
    text = "  ".join(words)
    bar = max(width - len(text) - 2, _SHORTEST_BAR)
    done = min(round(share * bar), bar)
    style = STATUS_STYLES.get(state.status, "cyan")
    return Text.assemble(("━" * done, style), ("─" * (bar - done), "dim"), "  ", text, no_wrap=True)


def _stages(stages: Sequence[StageTime], width: int) -> Text:
    parts = []
    for item in stages:
        if item.seconds is None:
            parts.append(Text(f"○ {item.stage}", style="dim"))
        elif item.is_current:
            parts.append(Text(f"● {item.stage} {duration(item.seconds)}", style="cyan"))
        else:
            parts.append(Text.assemble(("✓ ", "green"), f"{item.stage} {duration(item.seconds)}"))
    line = Text("  ›  " if width > 90 else " › ", style="dim").join(parts)
    line.no_wrap = True
    return line


def _money(job: StoredJob, rented: RentalSight, now: datetime) -> str:
    return money_words(money_of_sight(rented, job.state, now))


def _rent(job: StoredJob, standing: RentalStatus | None, money: str) -> list[Text]:
    """Whose turn it is and until when, what it costs; then why, and what is asked."""
    if standing is None:
        return []
    turn = [] if job.status.is_final else [standing.owner, standing.countdown]
    words = "  ·  ".join(filter(None, [*turn, money]))
    reason = "" if job.status.is_final else standing.reason
    lines = [Text(words), *([Text(reason, style="dim")] if reason else [])]
    if standing.question:
        lines.append(Text(f"a answers: {standing.question}", style="bold reverse yellow"))
    if standing.urgency == "alarm":
        lines.append(Text("a machine of it does not end: h shows it", style="bold reverse red"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _suggested(job: StoredJob, suggestions: Sequence[Suggestion]) -> list[Text]:
    """The first of them; the retry dialog has all."""
    if not suggestions or not suggestions[0].can_be_launched:
        return []
    first = suggestions[0]
    more = f" (and {len(suggestions) - 1} more)" if len(suggestions) > 1 else ""
    change = changes_in_words(job.spec, first)
    words = (f"r: {change}{more}  ", "bold yellow"), (clean_line(first.reason), "yellow")
    return [Text.assemble(*words)]


def _trouble(job: StoredJob, unreachable: Unreachable | None) -> list[Text]:
    if unreachable is not None:
        since = f"unreachable since {clock(unreachable.since)}; trying again"
        words = f"{since}. The figures are the last known ones: {clean_line(unreachable.reason)}"
        return [Text(words, style="bold yellow", no_wrap=True, overflow="ellipsis")]
    lines = []
    if job.error_message:
        lines.append(Text(clean_line(job.error_message), style="bold red"))
    if job.state.advice and job.status.is_final and job.error_message:
        lines.append(Text(job.state.advice, style="yellow"))
    return lines
