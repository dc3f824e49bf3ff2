"""The distribution of row lengths as an SVG picture for a page; its text is our own, no foreign."""

from __future__ import annotations

from shared.dataset.report import DatasetReport
from shared.number_text import many
from tui.views.dataset_report import token_range

_WIDTH, _HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 58, 34
_GAP = 3
_MOST_LABELS = 10


def histogram(report: DatasetReport) -> str:
    """An `<svg>` element, or nothing where there are no rows."""
    lengths = report.lengths
    if not any(lengths.counts):
        return ""
    axis = _Axis(report)
    described = f"Rows by their number of tokens; median {lengths.median:,}, p90 {lengths.p90:,}"
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{described}">',
        *_grid(axis),
        *_bars(report, axis),
        *_marks(report, axis),
        "</svg>",
    ]
    return "".join(parts)


class _Axis:
    """From tokens and counts to places in the picture."""

    def __init__(self, report: DatasetReport) -> None:
        self.bin_tokens = report.lengths.bin_tokens
        self.most = max(report.lengths.counts)
        bins = len(report.lengths.counts)
        # The limit is in the picture where it is near; far away it would squeeze the bars.
        limit_bin = report.max_seq_length // self.bin_tokens + 1
        self.shows_limit = report.max_seq_length > 0 and limit_bin <= 2 * bins
        self.bins = max(bins, limit_bin) if self.shows_limit else bins

    def x(self, tokens: float) -> float:
        inner = _WIDTH - _LEFT - _RIGHT
        return _LEFT + inner * tokens / (self.bins * self.bin_tokens)

    def y(self, count: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * count / self.most


def _grid(axis: _Axis) -> list[str]:
    base = axis.y(0)
    parts = [
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base:.1f}" y2="{base:.1f}"/>',
        f'<text x="{_LEFT - 6}" y="{axis.y(axis.most) + 4:.1f}" text-anchor="end">'
        f"{axis.most:,}</text>",
        f'<text x="{_LEFT - 6}" y="{base + 4:.1f}" text-anchor="end">0</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">tokens of a row</text>',
    ]
    every = -(-axis.bins // _MOST_LABELS)
    for number in range(0, axis.bins + 1, every):
        tokens = number * axis.bin_tokens
        parts.append(
            f'<text x="{axis.x(tokens):.1f}" y="{base + 15:.1f}" text-anchor="middle">'
            f"{tokens:,}</text>"
        )
    return parts


def _bars(report: DatasetReport, axis: _Axis) -> list[str]:
    limit_bin = report.max_seq_length // axis.bin_tokens
    parts = []
    for number, count in enumerate(report.lengths.counts):
        if not count:
            continue
        left, right = axis.x(number * axis.bin_tokens), axis.x((number + 1) * axis.bin_tokens)
        over = " over" if report.max_seq_length and number > limit_bin else ""
        parts.append(
            f'<rect class="bar{over}" x="{left + _GAP / 2:.1f}" y="{axis.y(count):.1f}" '
            f'width="{max(right - left - _GAP, 1):.1f}" height="{axis.y(0) - axis.y(count):.1f}">'
            f"<title>{token_range(report.lengths, number, number)} tokens: "
            f"{many(count, 'row')}</title></rect>"
        )
    return parts


def _marks(report: DatasetReport, axis: _Axis) -> list[str]:
    """Vertical lines; each name stands on a row of its own, so that none covers another."""
    lengths = report.lengths
    marks = [("median", lengths.median), ("p90", lengths.p90), ("p99", lengths.p99)]
    parts = [
        _mark(axis, tokens, f"{name} {tokens:,}", "quantile", row)
        for row, (name, tokens) in enumerate(marks, start=1)
    ]
    if axis.shows_limit:
        text = f"max_seq_length {report.max_seq_length:,}"
        parts.append(_mark(axis, report.max_seq_length, text, "limit", 0))
    return parts


def _mark(axis: _Axis, tokens: int, text: str, kind: str, row: int) -> str:
    x, top = axis.x(tokens), 6 + 12 * row
    is_right = x > _WIDTH * 0.75
    anchor, shift = ("end", -4) if is_right else ("start", 4)
    return (
        f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{axis.y(0):.1f}"/>'
        f'<text class="{kind}-text" x="{x + shift:.1f}" y="{top + 9}" '
        f'text-anchor="{anchor}">{text}</text>'
    )
