"""A forecast in words: its parts with their ranges and sources, and beside them what it was."""

from __future__ import annotations

from dataclasses import dataclass

from shared.clean_text import clean_line
from shared.forecast.accuracy import Accuracy, ratio_of
from shared.forecast.forecast import START_UP, Forecast, Part, PartName, Span
from shared.forecast.past import PastJob
from shared.number_text import duration, many, size
from shared.store.forecasts import StoredForecast

UNKNOWN = "–"
PART_HEADERS = ["PART", "EXPECTED", "BEST", "WORST", "FROM"]
_AFTER_TRAINING = (PartName.SAVING, PartName.HOME)


@dataclass(frozen=True, slots=True)
class PartRow:
    """One line of the table."""

    name: str
    expected: str
    best: str
    worst: str
    source: str


def part_rows(forecast: Forecast) -> list[PartRow]:
    """The parts that take any time, then all of them together."""
    rows = [_row(part.name.value, part.seconds, part.source) for part in _told(forecast)]
    source = "" if forecast.total is not None else "a part of it is not known"
    return [*rows, _row("all of it", forecast.total, source)]


def money_pairs(forecast: Forecast) -> list[tuple[str, str]]:
    """What it costs, machine and volume apart; nothing where there is no price."""
    price = forecast.place.usd_per_hour
    if price is None:
        return []
    cost = forecast.cost_usd
    if cost is None:
        return [("cost", f"unknown, as the time, at ${price:,.2f} an hour")]
    pairs = [("cost", f"{usd_words(cost)} at ${price:,.2f} an hour, without interruptions")]
    storage, a_month = forecast.storage_usd, forecast.place.volume_usd_per_month
    if storage is not None and a_month is not None:
        words = f"{usd_words(storage)} of it: the volume's ${a_month:,.2f} a month, for these hours"
        pairs.append(("storage", words))
    return pairs


def span_words(seconds: Span | None) -> str:
    """`0:31:44 (0:28:12 to 0:36:15)`."""
    if seconds is None:
        return "unknown"
    best, worst = duration(seconds.best), duration(seconds.worst)
    expected = duration(seconds.expected)
    return expected if best == worst else f"{expected} ({best} to {worst})"


def usd_words(usd: Span) -> str:
    """`$1.26 ($1.12 to $1.44)`."""
    best, worst = f"${usd.best:,.2f}", f"${usd.worst:,.2f}"
    return best if best == worst else f"${usd.expected:,.2f} ({best} to {worst})"


def breakdown(forecast: Forecast) -> list[tuple[str, str]]:
    """Start-up, training, evaluation and what comes after, each with its range and source."""
    pairs = [("start-up", span_words(forecast.start_up) + _sources(forecast, START_UP))]
    for name in (PartName.TRAINING, PartName.EVALUATION, *_AFTER_TRAINING):
        part = forecast.part(name)
        if part in _told(forecast):
            words = f"{span_words(part.seconds)}: {clean_line(part.source)}"
            pairs.append((part.name.value, words))
    return pairs


def in_one_line(forecast: Forecast) -> str:
    """Everything in a few words, for a form that is narrow."""
    if forecast.work.dry_run:
        return "dry run: one optimizer step, not estimated"
    training = forecast.part(PartName.TRAINING)
    if training.seconds is None:
        return f"unknown until the first steps: {clean_line(training.source)}"
    parts = [f"training {span_words(training.seconds)}, {clean_line(training.source)}"]
    if (start_up := forecast.start_up) is not None:
        parts.insert(0, f"start-up {duration(start_up.expected)}")
    evaluation = forecast.part(PartName.EVALUATION).seconds
    if evaluation is not None and evaluation.worst:
        parts.append(f"evaluation {duration(evaluation.expected)}")
    saving = forecast.part(PartName.SAVING).seconds
    if saving is not None:
        parts.append(f"saving {duration(saving.expected)}")
    total = f"about {duration(forecast.total.expected)} in all: " if forecast.total else ""
    return total + "; ".join(parts)


def compared_pairs(stored: StoredForecast | None) -> list[tuple[str, str]]:
    """What was foreseen of a job, and beside it what it took, once it has ended."""
    if stored is None:
        return []
    forecast, actual = stored.forecast, stored.actual
    if forecast.work.dry_run:
        return []
    pairs = [("forecast", span_words(forecast.total) + _usd_beside(forecast))]
    if actual is None:
        return pairs
    took = f"{duration(actual.total_s)}"
    if actual.cost_usd is not None:
        took += f", ${actual.cost_usd:,.2f} for machines"
    pairs.append(("it took", took + _judged(stored)))
    for part in forecast.parts:
        seconds = actual.part_s(part.name)
        if seconds is not None and (part.seconds is None or part.seconds.worst or seconds >= 1):
            words = f"{duration(seconds)} of {span_words(part.seconds)}"
            pairs.append((part.name.value, words))
    if actual.peak_bytes is not None and forecast.peak_bytes is not None:
        words = f"{size(actual.peak_bytes)} of {size(forecast.peak_bytes)} predicted"
        pairs.append(("peak memory", words))
    return pairs


def accuracy_words(accuracy: Accuracy) -> str:
    """`7 jobs, hours off by 12 % in the median, 6 of 7 inside the range`."""
    if not accuracy.n_jobs or accuracy.hours_error is None:
        return "no past job to compare with"
    jobs = many(accuracy.n_jobs, "job")
    words = f"{jobs}, hours off by {_percent(accuracy.hours_error)} in the median"
    if accuracy.dollars_error is not None:
        words += f", dollars by {_percent(accuracy.dollars_error)}"
    return f"{words}, {accuracy.n_inside} of {accuracy.n_jobs} inside the range"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _told(forecast: Forecast) -> list[Part]:
    """Parts that take any time, or of which nobody knows."""
    return [part for part in forecast.parts if part.seconds is None or part.seconds.worst > 0]


def _row(name: str, seconds: Span | None, source: str) -> PartRow:
    if seconds is None:
        return PartRow(name, UNKNOWN, UNKNOWN, UNKNOWN, clean_line(source))
    expected, best, worst = map(duration, (seconds.expected, seconds.best, seconds.worst))
    return PartRow(name, expected, best, worst, clean_line(source))


def _sources(forecast: Forecast, names: frozenset[PartName]) -> str:
    told = [part for part in _told(forecast) if part.name in names]
    parts = [f"{part.name.value} {_expected(part)}" for part in told]
    kinds = {"past job" in part.source for part in told}
    origin = {frozenset({True}): "as in past jobs", frozenset({False}): "assumed"}
    words = origin.get(frozenset(kinds), "partly as in past jobs, partly assumed")
    return f": {', '.join(parts)}; {words}" if parts else ""


def _expected(part: Part) -> str:
    return "unknown" if part.seconds is None else duration(part.seconds.expected)


def _usd_beside(forecast: Forecast) -> str:
    cost = forecast.cost_usd
    return "" if cost is None else f", {usd_words(cost)}"


def _judged(stored: StoredForecast) -> str:
    """How far off it was; why it says nothing of that, else."""
    if stored.actual is None:
        return ""
    ratio = ratio_of(PastJob(stored.job_id, stored.forecast, stored.actual))
    if ratio is not None:
        off = ratio.hours - 1
        inside = "inside" if ratio.is_inside else "outside"
        return f": {_percent(abs(off))} {'longer' if off > 0 else 'shorter'}, {inside} the range"
    if not stored.actual.corrects:
        return f": {stored.actual.status}, {many(stored.actual.attempts, 'attempt')}"
    if stored.actual.machine != stored.forecast.place.machine:
        return f": on {clean_line(stored.actual.machine)}, not what was foreseen"
    return ""
