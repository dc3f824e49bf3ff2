"""The retry dialog: as it was, or what the job's end suggests, as a changed form."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from shared.lifecycle import StopReason
from shared.store.store import Store
from tests.shared.store.journal import ended, journal, started
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.fake_agent import FakeAgent
from tests.tui.local_console import Console
from tests.tui.sample_home import fill
from tui.commands.start import StartOptions, start_job
from tui.screens.job import JobScreen
from tui.screens.new_job import NewJobScreen
from tui.screens.retry import RetryScreen
from tui.screens.review import ReviewScreen
from tui.widgets.job_form import JobForm

OUT_OF_MEMORY = "20261119-1633-0be991"


def form_of(opened: ConsolePilot) -> JobForm:
    assert isinstance(opened.app.screen, NewJobScreen)
    return opened.app.screen.query_one(JobForm)


async def until_on(opened: ConsolePilot, kind: type) -> None:
    await opened.until(lambda: isinstance(opened.app.screen, kind) and opened.app.screen.is_mounted)


async def test_a_suggestion_opens_the_form_and_becomes_a_retry(
    agent: FakeAgent, store: Store, tmp_path: Path
) -> None:
    console = Console(tmp_path)
    console.root = agent.root
    values = {"job_id": "job-dry", "dry_run": True}
    options = StartOptions((console.dataset,), ("checkpoints_kept=5",), values)
    async with agent.running():
        assert await start_job(options) == 0
        passed = ended(StopReason.DRY_RUN_PASSED)
        await store.apply_records("job-dry", journal(started(), passed, job_id="job-dry"))
        async with open_app(console, job="job-dry") as opened:
            await opened.until_seen("r: dry_run true → false  The dry run passed")
            await opened.press("r")
            await until_on(opened, RetryScreen)
            await opened.until_seen("dry_run true → false", "Start it as it was")
            await opened.press("enter")
            await until_on(opened, NewJobScreen)
            await opened.until_seen("job-dry again: dry_run true → false", "ready to review")
            draft = form_of(opened).draft
            assert (draft.dry_run, draft.retry_of) == (False, "job-dry")
            assert draft.dataset == str(console.dataset)

            await opened.press("ctrl+s")
            await until_on(opened, ReviewScreen)
            await opened.until_seen("retry of", "job-dry", "checkpoints_kept")
            await opened.press("enter")
            await opened.until(lambda: len(agent.started) == 2)
    again, _ = await store.list_jobs()
    assert again.retry_of == "job-dry"
    assert (again.spec.dry_run, again.spec.checkpoints_kept) == (False, 5)


async def test_the_dialog_can_be_left_and_what_no_job_can_do_is_only_said(tmp_path: Path) -> None:
    console = Console(tmp_path)
    await fill(console.home)
    async with open_app(console, job=OUT_OF_MEMORY) as opened:
        await opened.until_seen("r: max_seq_length 4096 → 896, over_long refuse → exclude")
        await opened.press("r")
        await until_on(opened, RetryScreen)
        await opened.until_seen("lora_r 16 → 8, lora_alpha 32 → 16")
        await opened.until_seen("A GPU with more memory than the NVIDIA H100 PCIe")
        await opened.press("escape")
        await opened.until(lambda: isinstance(opened.app.screen, JobScreen))
        assert len(opened.app.news) == 3


async def test_options_are_typed_checked_and_put_back(tmp_path: Path) -> None:
    console = Console(tmp_path)
    async with open_app(console) as opened:
        await opened.press("n")
        await until_on(opened, NewJobScreen)
        form = form_of(opened)
        field = form.query_one("#row-early_stopping_patience Input", Input)
        field.focus()
        field.value = "0"
        await opened.until_seen("✗ early_stopping_patience", "must be a whole number at least 1")
        assert "early_stopping_patience" in form.draft.problems()
        field.value = "2"
        await opened.until(lambda: "early_stopping_patience" not in form.draft.problems())
        assert form.query_one("#row-early_stopping_patience").has_class("-changed")
        await opened.press("ctrl+r")
        await opened.until(lambda: form.draft.early_stopping_patience == "none")
        assert not form.query_one("#row-early_stopping_patience").has_class("-changed")
