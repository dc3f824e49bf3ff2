"""The curves of a model card are well-formed, bounded, and show what was recorded."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from agent.trainer.adapters.curves_svg import HEIGHT, MOST_POINTS, WIDTH, loss_curves
from agent.trainer.adapters.training_history import TrainingHistory

SVG = "{http://www.w3.org/2000/svg}"


def draw(
    training: dict[int, float | None], held_out: dict[int, float | None]
) -> ElementTree.Element:
    return ElementTree.fromstring(loss_curves(TrainingHistory(training, held_out), "of a job"))


def lines(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """The curves' points in pixels, training first."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", line.attrib["points"])]
        for line in svg.iter(f"{SVG}polyline")
    ]


def texts(svg: ElementTree.Element) -> list[str]:
    return [item.text or "" for item in svg.iter(f"{SVG}text")]


def test_a_falling_loss_falls_from_left_to_right() -> None:
    training, held_out = lines(draw({1: 3.0, 2: 2.5, 3: 1.5}, {0: 3.1, 3: 1.75}))
    for curve in (training, held_out):
        assert curve == sorted(curve)
        assert [y for _, y in curve] == sorted(y for _, y in curve)
    assert training[-1][0] == held_out[-1][0]


def test_the_held_out_losses_stand_at_both_ends() -> None:
    shown = texts(draw({1: 3.0, 2: 2.5}, {0: 3.0625, 1: 2.9, 2: 1.75}))
    assert {"3.062", "1.750", "held-out loss", "training loss"} <= set(shown)
    assert "2.900" not in shown


@pytest.mark.parametrize(
    ("training", "held_out"),
    [
        ({}, {}),
        ({1: 3.3}, {}),
        ({1: 0.0, 2: 0.0}, {}),
        ({1: None, 2: None}, {2: None}),
        ({1: 3.3, 2: None, 3: 3.2}, {3: 2.0}),
        ({}, {0: 2.0}),
        ({1: 1e-9, 2: 1e30}, {}),
        (dict.fromkeys(range(1, 400), 5.0), {}),
    ],
)
def test_every_history_gives_a_whole_picture(
    training: dict[int, float | None], held_out: dict[int, float | None]
) -> None:
    svg = draw(training, held_out)
    assert svg.find(f"{SVG}title") is not None
    for curve in lines(svg):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in curve)


def test_nothing_recorded_is_said() -> None:
    assert "no losses were recorded" in texts(draw({1: None}, {}))


def test_a_long_run_stays_a_small_file() -> None:
    losses: dict[int, float | None] = {step: 2 + math.sin(step) for step in range(1, 100_001)}
    picture = loss_curves(TrainingHistory(losses, {}), "of a job")
    assert len(picture) < 40_000
    assert all(len(curve) <= MOST_POINTS for curve in lines(ElementTree.fromstring(picture)))


def test_markup_in_a_title_stays_text() -> None:
    svg = ElementTree.fromstring(loss_curves(TrainingHistory({1: 2.0}, {}), "<b>&</b>"))
    title = svg.find(f"{SVG}title")
    assert title is not None
    assert title.text == "<b>&</b>"
