"""The table of all jobs, kept in place: cursor and scroll stay where they are while figures change.

It is handed `JobRow`s and a `Selection`; it draws at most twice a second, and not while another
screen is on top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import DataTable

from shared.number_text import duration, loss, usd
from tui.services.hosts.names import LOCAL
from tui.views.job_row import STATUS_STYLES, JobRow, Selection, status_words
from tui.widgets.fitted_columns import fitted_text

MOST_ROWS = 1000
"""A table redraws all its rows when their order changes: 17 us a row (measured 2026-11)."""

_FIRST_ROWS = 100
_INTERVAL_S = 0.5
_NARROW = 100
_URGENT_STYLES = {"question": "bold reverse yellow", "alarm": "bold reverse red"}
_ROOM_FOR_NAMES = 30
"""Dates and then hosts are left out where names would have less than these cells."""

Draw = Callable[[JobRow, int, datetime], Text]


@dataclass(frozen=True, slots=True)
class _Column:
    """One column; `narrow` is its width in cells below 100 columns. 0: what is left."""

    key: str
    label: str
    narrow: int
    wide: int
    draw: Draw
    sort: str | None = None
    is_number: bool = False


class JobTable(DataTable[Text]):
    """All jobs that the selection lets through, in its order."""

    # A scrollbar that comes later would make all columns narrower, and all rows anew.
    DEFAULT_CSS = """
    JobTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """

    class Highlighted(Message):
        """The cursor stands on another job, or on none."""

        def __init__(self, job_id: str | None) -> None:
            self.job_id = job_id
            super().__init__()

    class SortRequested(Message):
        """Somebody clicked on the head of a column."""

        def __init__(self, sort: str) -> None:
            self.sort = sort
            super().__init__()

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._jobs: dict[str, JobRow] = {}
        self.selection = Selection()
        self._shown: list[str] = []
        self._changed: set[str] = set()
        self._width = 0
        self._widths: dict[str, int] = {}
        self._has_hosts = False
        """There is a job on another machine than this one."""
        self.left_out = 0
        """Jobs that would be shown if the table took more than `MOST_ROWS`."""

    def on_mount(self) -> None:
        self.set_interval(_INTERVAL_S, self.draw_changes)

    def on_resize(self, event: events.Resize) -> None:
        if self._width != self.scrollable_content_region.width:
            self._lay_out()

    @property
    def job_id(self) -> str | None:
        """The job under the cursor."""
        return self._shown[self.cursor_row] if self.cursor_row < len(self._shown) else None

    @property
    def jobs(self) -> Mapping[str, JobRow]:
        """All jobs by their ids, shown or not."""
        return self._jobs

    def put(self, row: JobRow) -> None:
        """A job is new or has changed; it is drawn at the next turn."""
        self._jobs[row.job_id] = row
        self._changed.add(row.job_id)
        if row.host != LOCAL and not self._has_hosts:
            self._has_hosts = True
            self._lay_out()

    def select(self, selection: Selection) -> None:
        """Show other jobs, or in another order."""
        is_resorted = (selection.sort, selection.is_descending) != (
            self.selection.sort,
            self.selection.is_descending,
        )
        self.selection = selection
        if is_resorted:
            self._lay_out()
        else:
            self.draw_changes()

    def draw_changes(self) -> None:
        """Update what differs; rows are laid out anew only when their order has changed."""
        if not self._widths or not self.is_attached or not self.screen.is_current:
            return
        now = datetime.now(UTC)
        ids = self._wanted(now)
        if ids != self._shown:
            self._fill(ids, now, self.job_id)
            return
        for job_id in self._shown:
            row = self._jobs[job_id]
            if job_id in self._changed or not row.status.is_final:
                self._update_row(row, now)
        self._changed.clear()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted(self.job_id))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        column = next(item for item in _COLUMNS if item.key == event.column_key.value)
        if column.sort is not None:
            self.post_message(self.SortRequested(column.sort))

    def _lay_out(self) -> None:
        """Columns for the width that there is; all rows with them."""
        self._width = width = self.scrollable_content_region.width
        if not width:
            return
        job_id = self.job_id
        self._widths, gap = _widths(width, self._has_hosts)
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in self._widths:
                label = Text(self._label(column), no_wrap=True)
                self.add_column(label, width=self._widths[column.key] + gap, key=column.key)
        now = datetime.now(UTC)
        self._fill(self._wanted(now), now, job_id)

    def _wanted(self, now: datetime) -> list[str]:
        """The jobs to show; a screenful at once, the rest half a second later."""
        ids = self.selection.ids(self._jobs.values(), now)
        self.left_out = max(len(ids) - MOST_ROWS, 0)
        return ids[: MOST_ROWS if self._shown else _FIRST_ROWS]

    def _label(self, column: _Column) -> str:
        label = column.label
        if column.sort is not None and column.sort == self.selection.sort:
            label += "▼" if self.selection.is_descending else "▲"
        return label.rjust(self._widths[column.key]) if column.is_number else label

    def _fill(self, ids: list[str], now: datetime, job_id: str | None) -> None:
        """Put these rows in; the cursor stays on `job_id` and the scroll where it was."""
        scroll_y = self.scroll_y
        self.clear()
        for shown in ids:
            self.add_row(*self._cells(self._jobs[shown], now).values(), key=shown)
        self._shown = ids
        self._changed.clear()
        if job_id in ids:
            self.move_cursor(row=ids.index(job_id), scroll=False)
        self.scroll_to(y=scroll_y, animate=False, force=True)
        self.post_message(self.Highlighted(self.job_id))

    def _update_row(self, row: JobRow, now: datetime) -> None:
        for key, cell in self._cells(row, now).items():
            if self.get_cell(row.job_id, key) != cell:
                self.update_cell(row.job_id, key, cell)

    def _cells(self, row: JobRow, now: datetime) -> dict[str, Text]:
        return {
            column.key: column.draw(row, self._widths[column.key], now)
            for column in _COLUMNS
            if column.key in self._widths
        }


def _widths(available: int, has_hosts: bool) -> tuple[dict[str, int], int]:
    """Cells for the text of each column that has room, by its key, and the gap between them."""
    is_narrow = available < _NARROW
    gap = 1 if is_narrow else 2
    widths = {column.key: column.narrow if is_narrow else column.wide for column in _COLUMNS}

    def left() -> int:
        return available - sum(width + gap for width in widths.values())

    if not has_hosts:
        del widths["host"]
    for key in ("created", "host"):
        if left() < _ROOM_FOR_NAMES:
            widths.pop(key, None)
    widths["name"] = max(left(), 8)
    return widths, gap


def _right(value: str, width: int) -> Text:
    return fitted_text(value, width, "dim" if value == "–" else "", is_number=True)


def _status(row: JobRow, width: int, now: datetime) -> Text:
    return fitted_text(status_words(row.status), width, STATUS_STYLES.get(row.status, ""))


def _activity(row: JobRow, width: int, now: datetime) -> Text:
    style = _URGENT_STYLES.get(row.urgency, "bold yellow" if row.is_unreachable else "dim")
    return fitted_text(row.activity, width, style)


def _progress(row: JobRow, width: int, now: datetime) -> Text:
    if row.progress is None:
        return _right("–", width)
    percent = f"{row.progress:4.0%}"
    if width <= len(percent):
        return fitted_text(percent, width)
    percent = f" {percent}"
    bar = width - len(percent)
    done = round(row.progress * bar)
    style = STATUS_STYLES.get(row.status, "")
    return Text.assemble(("━" * done, style), ("─" * (bar - done), "dim"), percent, no_wrap=True)


def _step(row: JobRow, width: int, now: datetime) -> Text:
    return _right(f"{row.step}/{row.total_steps}" if row.total_steps else "–", width)


def _duration(row: JobRow, width: int, now: datetime) -> Text:
    seconds = row.duration_s(now)
    return _right("–" if seconds is None else duration(seconds), width)


def _cost(row: JobRow, width: int, now: datetime) -> Text:
    return _right("–" if row.cost is None else usd(row.cost.at(now), width), width)


def _created(row: JobRow, width: int, now: datetime) -> Text:
    return fitted_text(f"{row.created_at.astimezone():%d %b %H:%M}", width, "dim")


_COLUMNS = (
    _Column("name", "NAME", 0, 0, lambda row, width, now: fitted_text(row.name, width), "name"),
    _Column("status", "STATUS", 11, 14, _status, "status"),
    _Column("host", "HOST", 16, 16, lambda row, width, now: fitted_text(row.host, width, "dim")),
    _Column("activity", "ACTIVITY", 8, 17, _activity),
    _Column("progress", "DONE", 4, 14, _progress, "progress"),
    _Column("step", "STEP", 7, 9, _step, is_number=True),
    _Column(
        "loss", "LOSS", 7, 8, lambda row, width, now: _right(loss(row.loss), width), "loss", True
    ),
    _Column("duration", "TIME", 7, 8, _duration, "duration", True),
    _Column("cost", "COST", 5, 7, _cost, is_number=True),
    _Column("created", "CREATED", 12, 12, _created, "created"),
)
