"""`brightrun models compare`: two to four versions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from shared.dataset.writing.new_file import new_file
from tui import exit_codes
from tui.commands.output import print_json, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.model_comparison import ComparedVersion, compare_versions
from tui.services.model_export import checked_export_path, write_metrics
from tui.services.models import find_version
from tui.terminal_encoding import terminal_is_unicode
from tui.views.comparison import MARKS
from tui.views.model_comparison import comparison_csv, comparison_dicts, comparison_text
from tui.views.overlaid_curves import OverlayLook, Shown, curves_of
from tui.views.overlaid_text import overlay_text

_CHART_ROWS = 14
_PIPE_COLUMNS = 120
_MOST_COLUMNS = 160


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What was typed."""

    curves: bool = True
    csv: Path | None = None
    """A new file that receives the table."""
    metrics: Path | None = None
    """A new file that receives what was measured at each step."""
    as_json: bool = False


async def compare(typed: Sequence[str], options: CompareOptions) -> int:
    """Print the comparison, and write it where that is asked for.

    Raises:
        InvalidInput: not two to four different versions, or a file that is there already.
    """
    if options.metrics is not None:
        checked_export_path(str(options.metrics))
    async with open_terminal_session() as session:
        versions = [await find_version(session, each) for each in typed]
        compared = await compare_versions(session, versions)
    if options.csv is not None:
        with new_file(options.csv) as file:
            file.write(comparison_csv(compared).encode("utf-8", "replace"))
    if options.metrics is not None:
        write_metrics(options.metrics, compared)
    if options.as_json:
        print_json(comparison_dicts(compared))
        return exit_codes.OK
    console = Console(highlight=False)
    columns = min(console.width, _MOST_COLUMNS) if console.is_terminal else _PIPE_COLUMNS
    say_line(comparison_text(compared, columns))
    if options.curves:
        for shown in ("loss", "held out"):
            say_line("")
            _print_curves(compared, shown, columns)
    return exit_codes.OK


def _print_curves(compared: Sequence[ComparedVersion], shown: Shown, columns: int) -> None:
    look = OverlayLook(shown, marker="braille" if terminal_is_unicode() else "ascii")
    pairs = zip(MARKS, compared, strict=False)
    curves = [curves_of(mark, each.points, look) for mark, each in pairs]
    say_line(overlay_text(curves, look, columns, _CHART_ROWS))
