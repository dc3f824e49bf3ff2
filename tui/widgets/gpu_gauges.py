"""Gauges of the GPUs that a job trains on; nothing at all where there is none."""

from __future__ import annotations

from datetime import datetime

from rich.text import Text
from textual.widgets import Static

from shared.job_state import JobState
from tui.terminal_encoding import terminal_is_unicode
from tui.views.gpu_lines import Loads, gauge_lines


class GpuGauges(Static):
    """A line or a small block for each GPU, as wide as there is room."""

    DEFAULT_CSS = """
    GpuGauges { height: auto; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._is_unicode = terminal_is_unicode()
        self._line_count = 0
        self.display = False

    def show(self, state: JobState, loads: Loads, now: datetime, usd_per_hour: float = 0.0) -> None:
        """The GPUs as they are known at `now`, with the loads of the last hour."""
        if self.display != bool(state.gpus):
            self.display = bool(state.gpus)
            return  # Its width is known at the next drawing.
        lines = gauge_lines(
            state,
            loads,
            now,
            self.content_region.width,
            usd_per_hour=usd_per_hour,
            is_unicode=self._is_unicode,
        )
        self.update(Text("\n").join(lines), layout=len(lines) != self._line_count)
        self._line_count = len(lines)
