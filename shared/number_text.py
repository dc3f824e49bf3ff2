"""Times, durations, sizes, paths and figures as everyone here writes them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path


def clock(moment: datetime) -> str:
    """Time of day here, `15:04:05`."""
    return f"{moment.astimezone():%H:%M:%S}"


def date_and_clock(moment: datetime | None) -> str:
    """`2026-11-22 15:04`, here; a dash for None."""
    return "–" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def number(value: float | None, spec: str) -> str:
    """The number, or a dash where there is none or it was not finite."""
    return "–" if value is None else format(value, spec)


def loss(value: float | None) -> str:
    """Losses have four decimals everywhere."""
    return number(value, ".4f")


def duration(seconds: float) -> str:
    """`0:03:10`; days are hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def size(size_bytes: int) -> str:
    """`414.2 MB`, in powers of ten as disks are sold."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def usd(dollars: float, most: int = 9) -> str:
    """`$4.20`; without cents where it would take more than `most` characters."""
    words = f"${dollars:,.2f}"
    return words if len(words) <= most else f"${dollars:,.0f}"


def many(count: int, noun: str, plural: str = "") -> str:
    """`1 error`, `1,204 lines`; `plural` where an s is not enough."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def short_path(path: Path) -> str:
    """The path with `~` for the home of this user."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):  # elsewhere, or no home
        return str(path)
