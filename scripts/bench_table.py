"""The table in which a benchmark prints its figures, each beside another of the same run."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, what it is compared with in the same run, and a goal."""

    measure: str
    figure: float
    unit: str = ""
    beside: float | None = None
    beside_name: str = ""
    goal: str = ""


def print_table(rows: Iterable[Row], setting: str) -> None:
    """Each figure, what it is compared with, and their ratio; `setting` is said of the run."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}, Python {platform.python_version()}, {setting}")
    print(f"{'measure':39}{'figure':>12}   {'beside':29}{'':>12}{'ratio':>9}   goal (information)")
    for row in rows:
        line = f"{row.measure:39}{shown(row.figure, row.unit):>12}   {row.beside_name:29}"
        if row.beside:
            line += f"{shown(row.beside, row.unit):>12}{row.figure / row.beside:8.2f}x   "
        else:
            line += " " * 24
        print((line + row.goal).rstrip())


def shown(value: float, unit: str) -> str:
    """A figure with its unit, and as many digits as mean anything."""
    return f"{value:,.1f} {unit}" if unit and value < 100 else f"{value:,.0f} {unit}".rstrip()
