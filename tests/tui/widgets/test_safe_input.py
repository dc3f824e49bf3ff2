"""Fields that a careless paste cannot stop."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.events import Paste

from tui.widgets.safe_input import LONGEST_LINE, LONGEST_TEXT, RecentTexts, SafeInput, SafeTextArea


class Fields(App[None]):
    def compose(self) -> ComposeResult:
        yield SafeInput(id="line")
        yield SafeTextArea(id="text")


@pytest.mark.parametrize(("field", "most"), [("#line", LONGEST_LINE), ("#text", LONGEST_TEXT)])
async def test_a_flood_is_refused_whole_and_what_fits_is_taken(field: str, most: int) -> None:
    app = Fields()
    async with app.run_test(notifications=True) as pilot:
        widget = app.query_one(field)
        assert isinstance(widget, SafeInput | SafeTextArea)
        widget.focus()
        app.post_message(Paste("x" * 3_000_000))
        await pilot.pause()
        content = widget.value if isinstance(widget, SafeInput) else widget.text
        assert content == ""
        assert [note.message for note in app._notifications] == [
            f"3,000,000 characters were not pasted: {most:,} are the most here."
        ]

        app.post_message(Paste("x" * most))
        await pilot.pause()
        content = widget.value if isinstance(widget, SafeInput) else widget.text
        assert len(content) == most


def test_known_texts_follow_on_what_was_typed_and_the_first_of_them_has_nothing_before_it() -> None:
    recent = RecentTexts()
    recent.offer(["local", "ssh:a"])

    assert recent.after("local", 1) == "ssh:a"
    assert recent.after("local", -1) is None
    assert recent.after("ssh:b", 1) == "local"
    assert recent.after("local", -1) == "ssh:b"
