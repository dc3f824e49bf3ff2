"""Draws loss over steps as a small SVG: one file, no script, no font and no library needed.

It knows curves and pixels only; where the numbers come from is the caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from agent.trainer.adapters.training_history import TrainingHistory

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 734, 64, 332
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_TRAINING, _HELD_OUT = "#3b6fb6", "#c4571b"
_TEXT, _FAINT, _GRID = "#1f2328", "#59636e", "#e4e7eb"

MOST_POINTS = 600
"""More steps than this are drawn as means of neighbours: a pixel shows no more."""
_SMOOTHED_FROM = 30
_TICKS = 5

Points = list[tuple[float, float]]


def loss_curves(history: TrainingHistory, title: str) -> str:
    """The whole SVG document; says so where there is nothing to draw."""
    training = _thinned(_finite(history.training))
    held_out = _finite(history.held_out)
    if not training and not held_out:
        return _document(title, [_text(WIDTH / 2, HEIGHT / 2, "no losses were recorded", "middle")])
    scale = _Scale.over([*training, *held_out])
    parts = [*_axes(scale), *_training_curve(training, scale), *_held_out_curve(held_out, scale)]
    return _document(title, [*parts, *_legend(bool(training), bool(held_out))])


class _Scale:
    """Steps and losses to pixels."""

    def __init__(self, last_step: float, lowest: float, highest: float) -> None:
        self.steps = [tick for tick in _ticks(0, last_step) if tick == int(tick)]
        self.losses = _ticks(lowest, highest)
        self._last_step = last_step
        self._low = min(lowest, self.losses[0])
        self._high = max(highest, self.losses[-1])

    @classmethod
    def over(cls, points: Points) -> _Scale:
        losses = [loss for _, loss in points]
        low, high = min(losses), max(losses)
        margin = (high - low) * 0.06 or max(abs(high), 1.0) * 0.05
        return cls(max(1.0, max(step for step, _ in points)), max(0.0, low - margin), high + margin)

    def x(self, step: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * step / self._last_step

    def y(self, loss: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (loss - self._low) / (self._high - self._low)


def _finite(curve: Mapping[int, float | None]) -> Points:
    return [(step, loss) for step, loss in curve.items() if loss is not None]


def _thinned(points: Points) -> Points:
    """At most `MOST_POINTS`, each the mean of equally many."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return points
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [
        (sum(step for step, _ in group) / len(group), sum(loss for _, loss in group) / len(group))
        for group in groups
    ]


def _smoothed(points: Points) -> Points:
    """The mean of the neighbours on both sides, so that the curve neither lags nor leads."""
    reach = max(2, len(points) // 40)
    smooth = []
    for place, (step, _) in enumerate(points):
        near = points[max(0, place - reach) : place + reach + 1]
        smooth.append((step, sum(loss for _, loss in near) / len(near)))
    return smooth


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, about `_TICKS` of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _training_curve(points: Points, scale: _Scale) -> Iterator[str]:
    if len(points) < _SMOOTHED_FROM:
        yield _line(points, scale, _TRAINING, 'stroke-width="2"')
        return
    yield _line(points, scale, _TRAINING, 'stroke-width="1" stroke-opacity="0.35"')
    yield _line(_smoothed(points), scale, _TRAINING, 'stroke-width="2"')


def _held_out_curve(points: Points, scale: _Scale) -> Iterator[str]:
    yield _line(points, scale, _HELD_OUT, 'stroke-width="2"')
    for step, loss in points:
        yield (
            f'<circle cx="{scale.x(step):.1f}" cy="{scale.y(loss):.1f}" r="3.5" '
            f'fill="{_HELD_OUT}" stroke="#ffffff" stroke-width="1.5"/>'
        )
    for step, loss in dict.fromkeys((*points[:1], *points[-1:])):
        anchor = "start" if step == 0 else "end"
        x = scale.x(step) + (8 if step == 0 else 0)
        yield _text(x, scale.y(loss) - 10, f"{loss:.3f}", anchor, fill=_HELD_OUT, bold=True)


def _axes(scale: _Scale) -> Iterator[str]:
    decimals = _decimals(scale.losses)
    for loss in scale.losses:
        y = scale.y(loss)
        yield (
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}" '
            f'stroke="{_GRID}" stroke-width="1"/>'
        )
        yield _text(_LEFT - 10, y + 4, f"{loss:.{decimals}f}", "end", fill=_FAINT)
    for step in scale.steps:
        yield _text(scale.x(step), _BOTTOM + 20, f"{step:,.0f}", "middle", fill=_FAINT)
    yield (
        f'<line x1="{_LEFT}" y1="{_BOTTOM}" x2="{_RIGHT}" y2="{_BOTTOM}" '
        f'stroke="{_FAINT}" stroke-width="1"/>'
    )
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 40, "optimizer step", "middle", fill=_FAINT)


def _decimals(ticks: Sequence[float]) -> int:
    return max(len(f"{tick:.6f}".rstrip("0").partition(".")[2]) for tick in ticks)


def _legend(has_training: bool, has_held_out: bool) -> Iterator[str]:
    names = [("training loss", _TRAINING)] * has_training
    names += [("held-out loss", _HELD_OUT)] * has_held_out
    for place, (name, colour) in enumerate(reversed(names)):
        x = _RIGHT - 116 - 136 * place
        yield (
            f'<line x1="{x}" y1="36" x2="{x + 20}" y2="36" stroke="{colour}" stroke-width="3" '
            'stroke-linecap="round"/>'
        )
        yield _text(x + 28, 40, name, "start")


def _line(points: Points, scale: _Scale, colour: str, style: str) -> str:
    if not points:
        return ""
    path = " ".join(f"{scale.x(step):.1f},{scale.y(loss):.1f}" for step, loss in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" {style} '
        'stroke-linejoin="round" stroke-linecap="round"/>'
    )


def _text(
    x: float, y: float, text: str, anchor: str, *, fill: str = _TEXT, bold: bool = False
) -> str:
    # The rim keeps a bold figure readable where a curve runs through it.
    rim = 'stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
    weight = f' font-weight="600" {rim}' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{weight}>'
        f"{escape(text)}</text>"
    )


def _document(title: str, parts: Sequence[str]) -> str:
    heading = _text(20, 41, "Loss, nats per token", "start", bold=True)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{_FONT}" font-size="13" role="img">',
            f"<title>{escape(title)}</title>",
            # A ground of its own: the page around it may be dark.
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff" stroke="{_GRID}"/>',
            heading,
            *(part for part in parts if part),
            "</svg>",
            "",
        ]
    )
