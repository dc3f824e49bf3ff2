"""What is in a checked training file: its figures, a picture of its lengths, its groups.

Pure: it knows nothing of files, terminals or widgets. Everything foreign is cleaned here, and
nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.report import DatasetReport, Group, LengthDistribution, OverLongRow
from shared.dataset.step_plan import plan_steps
from shared.hyperparameters import Hyperparameters
from shared.number_text import many

NO_NAME = "(none)"
_LONGEST_NAME = 36
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_NARROWEST_BAR = 8
_FEWEST_MERGED = 3
_MARKS_WIDTH = len("  median p90 p99")


# --- counts -----------------------------------------------------------------------------------


def count_pairs(report: DatasetReport, hyperparameters: Hyperparameters) -> list[tuple[str, str]]:
    """The file's figures; steps are those of an epoch in which nothing is held out."""
    left_out = report.targets - report.trained_targets
    return [
        ("conversations", _conversations(report)),
        ("turns", f"{report.turns:,}"),
        ("targets", f"{report.targets:,}" + (f", {left_out:,} not trained" if left_out else "")),
        ("null turns", f"{report.null_turns:,} without a target"),
        ("system prompts", _system_prompts(report)),
        ("tokens folded", _tokens(report, report.tokens) + " an epoch"),
        ("tokens unfolded", _unfolded(report)),
        ("tokens trained", _supervised(report)),
        ("steps an epoch", _steps(report, hyperparameters)),
        ("longest", f"{_tokens(report, report.longest_tokens)} tokens"),
        ("max_seq_length", _limit(report)),
        ("token counts", _exactness(report)),
    ]


def saved_by_folding(report: DatasetReport) -> int:
    """Percent of the unfolded tokens; 0 where nothing is known."""
    if not report.unfolded_tokens:
        return 0
    return round(100 * (1 - report.tokens / report.unfolded_tokens))


def _conversations(report: DatasetReport) -> str:
    branches = f" in {report.rows:,} rows" if report.rows > report.conversations else ""
    return f"{report.conversations:,}{branches}"


def _system_prompts(report: DatasetReport) -> str:
    count = report.system_prompts
    return f"{count:,} different" if count > 1 else f"{count or 'none'}"


def _tokens(report: DatasetReport, count: int) -> str:
    return f"about {count:,}" if report.tokens_are_estimated else f"{count:,}"


def _unfolded(report: DatasetReport) -> str:
    saved = saved_by_folding(report)
    unfolded = _tokens(report, report.unfolded_tokens)
    return f"{unfolded}: folding saves {saved} %" if saved else unfolded


def _supervised(report: DatasetReport) -> str:
    trained = _tokens(report, report.supervised_tokens)
    if not report.tokens:
        return trained
    return f"{trained}: {100 * report.supervised_tokens / report.tokens:.0f} % of the folded"


def _steps(report: DatasetReport, hyperparameters: Hyperparameters) -> str:
    folded, unfolded = steps_an_epoch(report, hyperparameters)
    known = "" if folded is None else f"{folded:,} folded, "
    return f"{known}{unfolded:,} unfolded ({many(hyperparameters.targets_per_step, 'target')} each)"


def steps_an_epoch(
    report: DatasetReport, hyperparameters: Hyperparameters
) -> tuple[int | None, int]:
    """(folded, unfolded); None for a report that no longer says what each row holds."""
    unfolded = ceil(report.trained_targets / hyperparameters.targets_per_step)
    if len(report.row_targets) != report.rows:
        return None, unfolded
    one_epoch = hyperparameters.model_copy(update={"num_epochs": 1})
    return len(plan_steps(report.row_targets, one_epoch)), unfolded


def _limit(report: DatasetReport) -> str:
    if not report.over_long_count:
        return f"{report.max_seq_length:,} cuts nothing"
    return f"{report.max_seq_length:,} is too short for {many(report.over_long_count, 'row')}"


def _exactness(report: DatasetReport) -> str:
    if report.tokens_are_estimated:
        return "estimated from characters: the base model's tokenizer is not here"
    return "exact, by the base model's own tokenizer"


# --- lengths ----------------------------------------------------------------------------------


def length_lines(report: DatasetReport, width: int) -> list[Text]:
    """Bins, bars and counts in at most `width` columns; empty where there are no rows.

    A run of empty bins is one line, with another rule than the rest: the scale breaks there.
    """
    lengths = report.lengths
    if not any(lengths.counts):
        return []
    most, limit_bin = max(lengths.counts), report.max_seq_length // lengths.bin_tokens
    bands = _bands(lengths, limit_bin)
    labels = [token_range(lengths, first, last) for first, last in bands]
    label_width = max(map(len, labels))
    bar_width = max(width - label_width - len(f"{most:,}") - _MARKS_WIDTH - 3, _NARROWEST_BAR)
    marks = _marks(lengths)
    lines = []
    for label, (first, last) in zip(labels, bands, strict=True):
        count = lengths.counts[first]
        lines.append(
            Text.assemble(
                f"{label:>{label_width}} ",
                ("│" if first == last else "┊", "dim"),
                (_bar(count / most, bar_width), "red" if first > limit_bin else "cyan"),
                f" {count:,}" if count else "",
                (f"  {marks[first]}" if first in marks else "", "bold"),
            )
        )
    if report.max_seq_length:
        below = sum(last <= limit_bin for _, last in bands)
        lines.insert(below, _limit_line(report, width))
    return [*lines, Text(length_summary(report), "dim")]


def token_range(lengths: LengthDistribution, first: int, last: int) -> str:
    """`1,000–1,249`: the tokens of these bins."""
    return f"{first * lengths.bin_tokens:,}–{(last + 1) * lengths.bin_tokens - 1:,}"


def _bands(lengths: LengthDistribution, limit_bin: int) -> list[tuple[int, int]]:
    """(first bin, last bin) of each line; none spans the limit."""
    bands: list[tuple[int, int]] = []
    keys = [(bool(count), number > limit_bin) for number, count in enumerate(lengths.counts)]
    for (holds_rows, _), run in groupby(range(len(keys)), key=lambda number: keys[number]):
        numbers = list(run)
        if holds_rows or len(numbers) < _FEWEST_MERGED:
            bands += [(number, number) for number in numbers]
        else:
            bands.append((numbers[0], numbers[-1]))
    return bands


def length_summary(report: DatasetReport) -> str:
    """Median, p90, p99 and longest, in one line."""
    lengths = report.lengths
    about = "about " if report.tokens_are_estimated else ""
    return (
        f"tokens of a row: {about}median {lengths.median:,} · p90 {lengths.p90:,} · "
        f"p99 {lengths.p99:,} · longest {report.longest_tokens:,}"
    )


def _marks(lengths: LengthDistribution) -> dict[int, str]:
    """Bin -> the names of what lies in it."""
    marks: dict[int, str] = {}
    for name, tokens in (("median", lengths.median), ("p90", lengths.p90), ("p99", lengths.p99)):
        number = tokens // lengths.bin_tokens
        marks[number] = f"{marks[number]} {name}" if number in marks else name
    return marks


def _bar(share: float, width: int) -> str:
    """A bar of eighths of a column; anything above nothing is seen."""
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]


def _limit_line(report: DatasetReport, width: int) -> Text:
    over = report.over_long_count
    longer = f"{many(over, 'row')} longer" if over else "no row is longer"
    text = f"┄┄ max_seq_length {report.max_seq_length:,}: {longer} "
    return Text(text.ljust(width, "┄")[:width], "bold red" if over else "green")


# --- groups and over-long conversations -------------------------------------------------------


def group_lines(groups: Sequence[Group], title: str, most: int = 12) -> list[Text]:
    """A small table, its largest group first; empty where the file names none."""
    if not any(group.name for group in groups):
        return []
    shown = groups[:most]
    names = [_shortened_name(group.name) for group in shown]
    width = max(map(cell_len, [title, *names]))
    head = f"{set_cell_size(title, width)}  {'conversations':>13}  {'targets':>7}  {'tokens':>11}"
    lines = [Text(head, style="bold")]
    for name, group in zip(names, shown, strict=True):
        figures = f"{group.conversations:>13,}  {group.targets:>7,}  {group.tokens:>11,}"
        lines.append(Text(f"{set_cell_size(name, width)}  {figures}"))
    return lines + _more(len(groups) - len(shown))


def over_long_lines(report: DatasetReport, most: int = 20) -> list[Text]:
    """What truncation at max_seq_length would cut, conversation by conversation."""
    if not report.over_long_count:
        return []
    shown = report.over_long[:most]
    head = f"cutting at {report.max_seq_length:,} tokens would lose, of the longest first:"
    lines = [Text(head, style="bold")]
    for row in shown:
        lines.append(
            Text.assemble(
                f"{_shortened_name(row.conversation_id)}  {_tokens(report, row.tokens)} tokens, ",
                (f"{row.cut_tokens:,} too many", "bold"),
                f": {what_is_lost(row)}",
                (f"  {clean_line(row.location)}", "dim"),
            )
        )
    return lines + _more(report.over_long_count - len(shown))


def what_is_lost(row: OverLongRow) -> str:
    """`turns 10, 12 whole, turn 8 in part`."""
    parts = []
    if row.lost_turns:
        parts.append(f"{_turns(row.lost_turns)} whole")
    if row.damaged_turns:
        parts.append(f"{_turns(row.damaged_turns)} in part")
    return ", ".join(parts) or "no target"


def _turns(turns: Sequence[int]) -> str:
    return ("turn " if len(turns) == 1 else "turns ") + ", ".join(map(str, turns))


def _shortened_name(name: str) -> str:
    cleaned = clean_line(name) or NO_NAME
    if cell_len(cleaned) <= _LONGEST_NAME:
        return cleaned
    return set_cell_size(cleaned, _LONGEST_NAME - 1) + "…"


def _more(left: int) -> list[Text]:
    return [Text(f"… and {left:,} more", "dim")] if left > 0 else []
