"""Where a new job runs: chosen, checked while it is typed, and told about while it is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.store.store import Store, open_store
from tests.shared.store.journal import job_spec
from tests.tui.console_pilot import open_app
from tests.tui.elsewhere import Elsewhere, put_elsewhere
from tests.tui.local_console import Console
from tests.tui.screens.new_job_form import NOT_LEFT, open_form
from tui.screens.new_job import NewJobScreen
from tui.screens.review import ReviewScreen
from tui.views.job_draft import JobDraft
from tui.widgets.job_table import JobTable
from tui.widgets.safe_input import PathInput


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """An agent that plays the other machine's."""
    made = Console(tmp_path_factory.mktemp("new-job-hosts"))
    made.start_agent()
    yield made
    made.kill_agent()


@pytest.fixture
def box(console: Console, home: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    return put_elsewhere(monkeypatch, console.root)


@pytest.fixture
def ssh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host lab gpu-01\n  User me\nHost *\n  Port 22\n")
    monkeypatch.setenv("HOME", str(tmp_path))


async def test_known_hosts_are_offered_and_complete_like_a_path(
    home: Path, ssh_config: None, store: Store
) -> None:
    await store.add_job(job_spec("job-a"), "ssh:me@10.0.0.5:2222")
    async with open_form() as form:
        host = form.row("host").editor
        assert isinstance(host, PathInput)
        await form.until(lambda: len(host.recent.texts) == 5)
        assert host.recent.texts[:2] == ["local", "runpod"]
        assert host.recent.texts[2:] == ["ssh:me@10.0.0.5:2222", "ssh:lab", "ssh:gpu-01"]

        host.focus()
        await form.press("down", "down")
        await form.until(lambda: form.draft.host == "ssh:me@10.0.0.5:2222")
        await form.press("up", "up", "up")
        assert form.draft.host == "local"

        await form.type("host", *"ssh:g")
        await form.until(lambda: host._completion == ("ssh:g", "ssh:gpu-01"))
        await form.press("tab")
        await form.until(lambda: form.draft.host == "ssh:gpu-01")
        await form.until_seen("your own machine: no rent")


async def test_a_host_is_checked_while_it_is_typed(home: Path) -> None:
    async with open_form(JobDraft(dataset="x.json")) as form:
        await form.type("host", *"box")
        await form.until_seen("✗ host", "host  write local, runpod", "not yet: host: write local")

        await form.type("host", *"ssh:me@box:99999")
        await form.until_seen("a port is a number from 1 to 65535")
        await form.press("ctrl+s")
        await form.pilot.pause()
        assert isinstance(form.app.screen, NewJobScreen)
        assert form.app.focused is form.row("host").editor

        await form.type("host", *"ssh://me@box:2222/")
        await form.until(lambda: not form.row("host").problem)
        assert form.draft.host_name == "ssh:me@box:2222"


async def test_the_steps_of_a_start_are_shown_and_the_job_keeps_its_host(
    box: Elsewhere, console: Console
) -> None:
    draft = JobDraft(dataset=str(console.dataset), host="ssh:box", notes="steps=1")
    async with open_form(draft) as form:
        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.until_seen("ssh:box", "your own machine: no rent")
        await form.press("enter")
        await form.until_seen("installing the trainer's packages")
        await form.press("escape")
        await form.pilot.pause()
        assert isinstance(form.app.screen, NewJobScreen)
        assert form.app.result == NOT_LEFT
        assert box.asked_by_a_person == [True]

        box.may_go_on.set()
        await form.until(lambda: form.app.result != NOT_LEFT)
        assert form.app.result is not None
        assert (await form.session.store.get_job(form.app.result)).host == "ssh:box"


async def test_a_host_that_cannot_be_reached_leaves_the_form_with_its_sentence(
    box: Elsewhere, console: Console
) -> None:
    box.trouble = "ssh:box: connection refused."
    async with open_form(JobDraft(dataset=str(console.dataset), host="ssh:box")) as form:
        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.press("enter")
        await form.until_on(NewJobScreen)
        await form.until_seen("ssh:box: connection refused.")
        assert "connecting to" not in form.text


async def test_a_directory_of_another_machine_is_taken_as_it_is_and_counts_are_estimates(
    home: Path, console: Console
) -> None:
    draft = JobDraft(dataset=str(console.dataset), base_model="/models/llama", host="ssh:box")
    async with open_form(draft, size=(240, 40)) as form:
        await form.until_seen("ready to review", "estimated, the model's tokenizer is not here")
        form.row("base_model").editor.focus()
        await form.until_seen("a directory on that host", "absolute path.")

        await form.paste("base_model", "~/llama")
        await form.until_seen("✗ base_model", "write the absolute path")
        await form.paste("host", "local")
        await form.until_seen("✗ base_model", "there is no such directory")


async def test_a_new_job_like_one_on_another_machine_runs_there_too(
    tmp_path: Path, box: Elsewhere
) -> None:
    console = Console(tmp_path)
    async with open_store(console.home / "brightrun.db") as store:
        await store.add_job(job_spec("job-there"), "ssh:box")
    async with open_app(console) as opened:
        await opened.until(lambda: opened.app.screen.query_one(JobTable).job_id == "job-there")
        await opened.press("N")
        await opened.until_seen("New job", "ssh:box")
        assert isinstance(opened.app.screen, NewJobScreen)
        assert opened.app.screen._form.draft.host == "ssh:box"
