"""Names, ids and texts that attack the terminal, and terminals that are too small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.shared.dataset.documents import document, file_pair
from tests.tui.screens.new_job_form import NewJobForm, open_form
from tui.screens.review import ReviewScreen
from tui.views.job_draft import JobDraft

EVIL = "[/] [/some/path] [@click=app.quit_by_text]x[/] \x1b]52;c;aGk=\x07 \u202eend"
SHOWN = "[/] [/some/path] [@click=app.quit_by_text]x[/] end"
HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def evil_file(tmp_path: Path) -> Path:
    """Hostile in its name, its ids and its texts; all of them stand in findings."""
    path = tmp_path / f"{EVIL.replace('/', '')}.json"
    pairs = {
        EVIL: [file_pair(1, "Hi", target=f"{EVIL} and so on \\")],
        "other": [file_pair(1, EVIL, target="It is\\nso.")],
    }
    path.write_text(json.dumps(document(**pairs)))
    return path


async def assert_harmless(form: NewJobForm) -> None:
    """Nothing that reaches the terminal steers it, and nothing on it is a link."""
    await form.pilot.pause()
    for strip in form.app.screen._compositor.render_strips():
        for segment in strip:
            assert not HARMFUL.search(segment.text), repr(segment.text)
            assert not segment.style or "@click" not in segment.style.meta
    assert not form.app.quit_by_text


async def test_hostile_text_is_shown_harmlessly_everywhere(home: Path, evil_file: Path) -> None:
    draft = JobDraft(
        dataset=str(evil_file), name=EVIL, base_model=f"x{EVIL}", tags=EVIL, notes=EVIL
    )
    async with open_form(draft, size=(200, 60)) as form:
        await form.until_seen(SHOWN, "4 warnings")
        await form.until_counted()
        await assert_harmless(form)

        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.until_seen(SHOWN)
        await assert_harmless(form)


@pytest.mark.parametrize("content", [EVIL, json.dumps({EVIL: EVIL}), '{"_meta": {}}\n"x'])
async def test_hostile_errors_are_shown_harmlessly(
    home: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / f"{EVIL.replace('/', '')}.json"
    path.write_text(content)
    async with open_form(JobDraft(dataset=str(path)), size=(160, 50)) as form:
        await form.until(lambda: form.row("dataset").problem or "2 errors" in form.text)
        await assert_harmless(form)
        await form.press("ctrl+s")
        await form.until(lambda: "reading and hashing" not in form.text)
        await assert_harmless(form)


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (200, 60)])
async def test_any_size_of_terminal_is_survived(
    home: Path, evil_file: Path, size: tuple[int, int]
) -> None:
    async with open_form(JobDraft(dataset=str(evil_file)), size=size) as form:
        await form.until_counted()
        await form.press("tab", "f2", "f2")
        await form.type("num_epochs", "0")
        await form.pilot.resize_terminal(80, 24)
        await form.until_seen("✗ num_epochs", "1 … 100")
        await form.pilot.resize_terminal(*size)
        await assert_harmless(form)


async def test_a_narrow_terminal_shows_the_form_or_the_findings(
    home: Path, evil_file: Path
) -> None:
    async with open_form(JobDraft(dataset=str(evil_file)), size=(80, 24)) as form:
        await form.until_seen("gradient_accumulation_steps", "2 conversations", "Review & start")
        await form.press("f2")
        await form.until_seen("Findings  4 warnings", "Review & start", "Form")
        assert "gradient_accumulation_steps" not in form.text
        await form.press("f2")
        await form.until_seen("gradient_accumulation_steps")
