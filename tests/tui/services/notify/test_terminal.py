"""Which terminal gets which sequence."""

from __future__ import annotations

import pytest

from tui.services.notify.terminal import can_ring, desktop_sequence

ITERM = {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}


@pytest.mark.parametrize(
    ("environ", "sequence"),
    [
        (ITERM, "\x1b]9;night run: completed: It took 0:01:00.\x07"),
        ({"TERM": "foot"}, "\x1b]777;notify;night run: completed;It took 0:01:00.\x07"),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "dumb", "TERM_PROGRAM": "iTerm.app"}, ""),
        ({**ITERM, "TMUX": "/tmp/tmux-0/default,1,0"}, ""),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "WezTerm"}, ""),
        ({}, ""),
    ],
)
def test_a_desktop_notification_only_where_the_terminal_is_known_to_make_one(
    environ: dict[str, str], sequence: str
) -> None:
    assert desktop_sequence("night run: completed", "It took 0:01:00.", environ) == sequence


def test_a_text_cannot_end_the_sequence_or_begin_another() -> None:
    made = desktop_sequence("a\x07b\x1b]52;c;evil\x07", "c;d\x9c", ITERM)
    assert made == "\x1b]9;ab: c,d\x07"


def test_a_dumb_terminal_is_not_rung() -> None:
    assert not can_ring({"TERM": "dumb"})
    assert not can_ring({})
    assert can_ring({"TERM": "xterm"})
