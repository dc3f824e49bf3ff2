"""What the GPUs of a job's machine do, as lines of text: gauges, figures, and what they cost idle.

From values alone. A sample comes about once a minute; one that is old is marked as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from shared.clean_text import clean_line
from shared.event_text import describe_gpu
from shared.events import GpuReading, GpuSample
from shared.job_state import JobState
from shared.number_text import many, usd

OLD_AFTER_S = 150.0
"""More than two samples in a row are missing then."""
IDLE_FLAGGED_S = 60.0
HISTORY = timedelta(hours=1)

_HOT_C = 85
"""An H100 lowers its clocks a little above (its specification: 87 °C; unverified on hardware)."""
_HOTTEST_C = 100
_MOST_LINES = 2
"""Beside a chart in 24 lines; more GPUs than that share one."""
_BARS = "▁▂▃▄▅▆▇█"
_BLOCK_WIDTH = 60
"""Narrower than this, a single GPU has a line for each of its gauges."""

Loads = Sequence[tuple[datetime, float]]
"""When, and the mean utilisation of all GPUs in percent; oldest first."""


def mean_load(sample: GpuSample) -> float | None:
    """Of the GPUs whose load is told, in percent; None if none is."""
    loads = [gpu.utilisation_percent for gpu in sample.gpus if gpu.utilisation_percent is not None]
    return sum(loads) / len(loads) if loads else None


def is_old(state: JobState, now: datetime) -> bool:
    """True if the readings may say nothing about now."""
    return state.gpus_at is not None and (now - state.gpus_at).total_seconds() >= OLD_AFTER_S


def age_words(state: JobState, now: datetime) -> str:
    """`as of 3 min ago`; empty while the readings are fresh."""
    if state.gpus_at is None or not is_old(state, now):
        return ""
    return f"as of {_span((now - state.gpus_at).total_seconds())} ago"


def idle_words(state: JobState, now: datetime, usd_per_hour: float = 0.0) -> str:
    """`GPU idle for 4 min while training, paid $2.39/h`; empty where none idles for long."""
    if state.gpu_idle_since is None or state.gpus_at is None:
        return ""
    known_until = state.gpus_at if is_old(state, now) else now
    idle_s = (known_until - state.gpu_idle_since).total_seconds()
    if idle_s < IDLE_FLAGGED_S:
        return ""
    who = "GPU" if len(state.gpus) == 1 else many(len(state.gpus), "GPU")
    paid = f", paid {usd(usd_per_hour)}/h" if usd_per_hour else ""
    return f"{who} idle for {_span(idle_s)} while training{paid}"


def gpu_pairs(state: JobState, now: datetime, usd_per_hour: float = 0.0) -> list[tuple[str, str]]:
    """Names and values for a list of figures; empty where nothing was sampled."""
    pairs = [(f"GPU {gpu.index}", describe_gpu(gpu).partition(": ")[2]) for gpu in state.gpus]
    pairs += [("", age_words(state, now)), ("idle", idle_words(state, now, usd_per_hour))]
    return [(name, value) for name, value in pairs if value]


def gauge_lines(
    state: JobState,
    loads: Loads,
    now: datetime,
    width: int,
    *,
    usd_per_hour: float = 0.0,
    is_unicode: bool = True,
) -> list[Text]:
    """The gauges in `width` cells; none where nothing was sampled."""
    if not state.gpus:
        return []
    bars = _Bars(is_unicode)
    is_block = width < _BLOCK_WIDTH
    if len(state.gpus) == 1 and is_block:
        lines = _block(state.gpus[0], width, bars)
        if is_unicode and len(loads) > 1:
            curve = load_curve(loads, now, width - 7)
            lines.append(Text.assemble(("hour   ", "dim"), (curve, "cyan")))
    elif is_block:
        lines = [_short(gpu, bars) for gpu in state.gpus]
    elif len(state.gpus) <= _MOST_LINES:
        lines = [_long(gpu, bars) for gpu in state.gpus]
    else:
        lines = [_together(state.gpus, bars)]
    if age := age_words(state, now):
        lines = [Text(line.plain, style="dim") for line in lines]
        lines.append(Text(age, style="dim"))
    if idle := idle_words(state, now, usd_per_hour):
        lines.append(Text(f"{bars.warning} {idle}", style="bold yellow"))
    return lines


def load_curve(loads: Loads, now: datetime, columns: int) -> str:
    """The last hour in so many characters, empty at the bottom of the scale and 100 % on top."""
    shares: list[list[float]] = [[] for _ in range(columns)]
    for at, load in loads:
        place = columns - 1 - int((now - at) / HISTORY * columns)
        if 0 <= place < columns:
            shares[place].append(load)
    return "".join(_BARS[_level(share)] if share else " " for share in shares)


def _level(share: Sequence[float]) -> int:
    return round(min(sum(share) / len(share), 100) / 100 * (len(_BARS) - 1))


class _Bars:
    """A gauge in the characters that the terminal has."""

    def __init__(self, is_unicode: bool) -> None:
        self._full, self._empty = ("━", "─") if is_unicode else ("#", "-")
        self.degrees = "°C" if is_unicode else "C"
        self.warning = "▲" if is_unicode else "!"

    def of(self, value: int | None, most: int | None, cells: int, style: str) -> Text:
        if value is None or not most:
            return Text(self._empty * cells, style="dim")
        full = min(max(round(value / most * cells), 0), cells)
        return Text.assemble((self._full * full, style), (self._empty * (cells - full), "dim"))


def _block(gpu: GpuReading, width: int, bars: _Bars) -> list[Text]:
    """A line for each gauge."""
    values = ("load", _percent(gpu)), ("memory", _memory(gpu)), ("heat", _heat(gpu, bars))
    rows = [*values, ("power", _power(gpu))]
    room = max(len(value) for _, value in rows)
    cells = max(width - 7 - 1 - room, 4)
    return [
        Text.assemble((name.ljust(7), "dim"), bar, value.rjust(room + 1))
        for (name, value), bar in zip(rows, _gauges(gpu, bars, cells), strict=True)
    ] + _held_back(gpu)


def _held_back(gpu: GpuReading) -> list[Text]:
    reasons = clean_line(", ".join(gpu.held_back_by))
    return [Text(f"held back by {reasons}", "dim")] if reasons else []


def _gauges(gpu: GpuReading, bars: _Bars, cells: int) -> list[Text]:
    """Load, memory, heat, power."""
    is_hot = gpu.temperature_c is not None and gpu.temperature_c >= _HOT_C
    return [
        bars.of(gpu.utilisation_percent, 100, cells, "green"),
        bars.of(gpu.memory_used_mib, gpu.memory_total_mib, cells, "cyan"),
        bars.of(gpu.temperature_c, _HOTTEST_C, cells, "red" if is_hot else "yellow"),
        bars.of(gpu.power_w, gpu.power_limit_w, cells, "magenta"),
    ]


def _short(gpu: GpuReading, bars: _Bars) -> Text:
    """In 31 cells."""
    load = _gauges(gpu, bars, 5)[0]
    figures = f"{_percent(gpu):>6}{_memory(gpu, unit=''):>6}{_heat(gpu, bars):>6}"
    return Text.assemble((f"{gpu.index} ", "dim"), load, figures, f"{_watts(gpu.power_w):>6}")


def _long(gpu: GpuReading, bars: _Bars) -> Text:
    """In 78 cells."""
    load, memory, heat, power = _gauges(gpu, bars, 7)
    return Text.assemble(
        (f"GPU {gpu.index} ", "dim"), load, f"{_percent(gpu):>6}  ",
        memory, f"{_memory(gpu):>10}  ", heat, f"{_heat(gpu, bars):>6}  ",
        power, f"{_power(gpu):>10}",
    )  # fmt: skip


def _together(gpus: Sequence[GpuReading], bars: _Bars) -> Text:
    """Many GPUs in one line: what they do on average, and what the worst does."""
    loads = [gpu.utilisation_percent for gpu in gpus if gpu.utilisation_percent is not None]
    mean = round(sum(loads) / len(loads)) if loads else None
    spread = f" ({min(loads)} to {max(loads)})" if loads else ""
    fullest = max(gpus, key=lambda gpu: gpu.memory_used_mib or 0)
    hottest = max(gpus, key=lambda gpu: gpu.temperature_c or 0)
    watts = sum(gpu.power_w or 0 for gpu in gpus) or None
    return Text.assemble(
        (f"{len(gpus)} GPUs ", "dim"),
        bars.of(mean, 100, 8, "green"),
        " –" if mean is None else f" {mean} %{spread}",
        f"  at most {_memory(fullest)}, {_heat(hottest, bars)}  {_watts(watts)} in all",
    )


def _percent(gpu: GpuReading) -> str:
    return "–" if gpu.utilisation_percent is None else f"{gpu.utilisation_percent} %"


def _memory(gpu: GpuReading, unit: str = " GiB") -> str:
    if gpu.memory_used_mib is None:
        return "–"
    total = "" if gpu.memory_total_mib is None else f"/{gpu.memory_total_mib / 1024:.0f}"
    return f"{gpu.memory_used_mib / 1024:.0f}{total}{unit}"


def _heat(gpu: GpuReading, bars: _Bars) -> str:
    return "–" if gpu.temperature_c is None else f"{gpu.temperature_c} {bars.degrees}"


def _power(gpu: GpuReading) -> str:
    if gpu.power_w is None or gpu.power_limit_w is None:
        return _watts(gpu.power_w)
    return f"{gpu.power_w}/{gpu.power_limit_w} W"


def _watts(watts: int | None) -> str:
    return "–" if watts is None else f"{watts} W"


def _span(seconds: float) -> str:
    """`45 s`, `4 min`, `2.5 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
