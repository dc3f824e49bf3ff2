"""How commands print. Foreign text reaches the terminal only as cleaned, markup-free text."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from typing import Any

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from shared.clean_text import clean_line
from tui.views.job_row import STATUS_STYLES

_PIPE_WIDTH = 1000
_NARROWEST = 8


def print_json(value: Any) -> None:
    """One JSON value on stdout. ASCII only, so that no text in it can steer a terminal."""
    print(json.dumps(value, indent=2, allow_nan=False))


def say(text: str) -> None:
    """A message of ours on stderr, cleaned."""
    print(clean_line(text), file=sys.stderr)


def say_line(text: Text | str, *, as_json: bool = False) -> None:
    """A line for a person: on stdout, or on stderr where stdout is for data."""
    line = text if isinstance(text, Text) else Text(text)
    Console(stderr=as_json).print(line, soft_wrap=True, highlight=False)


def print_table(
    headers: list[str],
    rows: list[list[str]],
    shrinking: str,
    *,
    numbers: Collection[str] = (),
    to_stderr: bool = False,
) -> None:
    """A plain table; on a narrow terminal the column `shrinking` is cut first.

    The columns with the headers `numbers` stand at the right.
    """
    cleaned = [[clean_line(cell) for cell in row] for row in rows]
    stream = sys.stderr if to_stderr else sys.stdout
    # In a pipe nothing is cut off: the next program wants whole values.
    width = None if stream.isatty() else _PIPE_WIDTH
    console = Console(stderr=to_stderr, width=width, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    longest = [max(map(cell_len, column)) for column in zip(headers, *cleaned, strict=True)]
    others = sum(length + 2 for length in longest) - longest[headers.index(shrinking)]
    for header in headers:
        most = max(console.width - others, _NARROWEST) if header == shrinking else None
        justify: JustifyMethod = "right" if header in numbers else "left"
        table.add_column(Text(header), justify=justify, no_wrap=True, max_width=most)
    for row in cleaned:
        table.add_row(*(Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in row))
    console.print(table)


def print_pairs(pairs: list[tuple[str, str]], *, to_stderr: bool = False) -> None:
    """Names and values in two columns."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        value = clean_line(value)
        styled = Text(value, style=STATUS_STYLES.get(value, ""))
        line = Text.assemble((name.ljust(width + 2), "bold"), styled)
        say_line(line, as_json=to_stderr)
