from __future__ import annotations

import pytest

from shared.clean_text import clean, clean_line


@pytest.mark.parametrize(
    ("payload", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[?1049hscreen\x1b[2J", "screen"),
        ("\x1b]52;c;cm0gLXJm\x07clip", "clip"),
        ("\x1b]0;title\x1b\\text", "text"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("\x1bP1$r0m\x1b\\dcs", "dcs"),
        ("\x1b_Gf=100;AAAA\x1b\\apc", "apc"),
        ("\x9b31mc1\x9d0;t\x9cosc", "c1osc"),
        ("\x1bc reset", " reset"),
        ("\x1b(0charset", "charset"),
        ("bell\x07 back\x08 nul\x00 cr\r del\x7f", "bell back nul cr del"),
        ("\u202eevil\u2066x\u2069\u200f", "evilx"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("tab\tand\nnewline stay", "tab\tand\nnewline stay"),
        ("grüße 🚀 日本語", "grüße 🚀 日本語"),
        ("[bold]/[/] markup is text", "[bold]/[/] markup is text"),
    ],
)
def test_control_sequences_are_gone_and_text_stays(payload: str, left: str) -> None:
    assert clean(payload) == left


@pytest.mark.parametrize(
    "payload",
    ["\x1b]52;c;unterminated", "\x1bPtmux;\x1b\x1b]52;c;x\x07\x1b\\", "\x1b\x1b[31m[32m", "\x1b"],
)
def test_no_escape_character_survives(payload: str) -> None:
    assert not any(
        ord(character) < 32 or 127 <= ord(character) < 160 for character in clean(payload)
    )


def test_a_text_full_of_unterminated_sequences_takes_no_longer() -> None:
    assert "\x1b" not in clean("\x1b]52;c;" * 200_000)


def test_a_line_is_one_line() -> None:
    assert clean_line(" a\n\tb\u2028c  \x1b[1md ") == "a bc d"
