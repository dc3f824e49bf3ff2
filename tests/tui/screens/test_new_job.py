"""The form for a new job, on a real store with a real agent; only the trainer is a stand-in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Button

from shared.hyperparameters import Hyperparameters, Preset, allowed_range
from tests.shared.dataset.documents import document, file_pair, file_pairs
from tests.tui.local_console import Console
from tests.tui.screens.new_job_form import NOT_LEFT, open_form
from tui.screens.confirm import ConfirmScreen
from tui.screens.new_job import NewJobScreen
from tui.screens.review import ReviewScreen
from tui.views.job_draft import JobDraft
from tui.widgets.hyperparameter_form import HyperparameterForm
from tui.widgets.safe_input import PathInput
from tui.widgets.setting_row import SettingRow

SAMPLE = Path(__file__).parents[3] / "shared/dataset/sample/brightrun-sample.json"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """An agent that this module's jobs are given to."""
    made = Console(tmp_path_factory.mktemp("new-job"))
    made.start_agent()
    yield made
    made.kill_agent()


@pytest.fixture
def agent_at_hand(console: Console, monkeypatch: pytest.MonkeyPatch) -> Console:
    for name in ("BRIGHTRUN_HOME", "BRIGHTRUN_AGENT_ROOT"):
        monkeypatch.setenv(name, console.environment[name])
    return console


@pytest.fixture
def two_talks(tmp_path: Path) -> Path:
    """A training file without findings."""
    path = tmp_path / "talks.json"
    talks = {name: file_pairs("Hi", f"Hello, {name}.", "And now?", "We go on.") for name in "ab"}
    for name, pairs in talks.items():
        for number, pair in enumerate(pairs):
            pair["id"] = f"{name}{number}"
    path.write_text(json.dumps(document(**talks)))
    return path


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A training file with an error and a warning."""
    path = tmp_path / "faulty.json"
    pairs = [file_pair(1, "Hi", target="  ")], [file_pair(1, "Hi", target="It can be a \\")]
    path.write_text(json.dumps(document(blank=pairs[0], cut=pairs[1])))
    return path


async def test_a_job_is_filled_in_reviewed_and_started(
    agent_at_hand: Console, two_talks: Path
) -> None:
    async with open_form() as form:
        await form.until_seen("dataset: choose a training file")
        await form.paste("dataset", str(two_talks))
        await form.type("name", *"My job")
        await form.type("num_epochs", "5")
        form.row("notes").editor.focus()
        await form.press(*"steps=2")
        await form.until_seen("5 (5 epochs, 16 targets a step)", "ready to review")

        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.until_seen("Start this job?", "My job", "5 (changed; balanced: 3)", "no rent")
        assert await form.session.store.list_jobs() == []
        await form.press("enter")

        await form.until(lambda: form.app.result != NOT_LEFT)
        job_id = form.app.result
        assert job_id is not None
        job = await form.session.store.get_job(job_id)
        assert (job.spec.name, job.host) == ("My job", "local")
        assert job.spec.hyperparameters.num_epochs == 5
        async with form.session.hosts.get().client() as client:
            assert (await client.job(job_id)).job == job.spec
    assert await agent_at_hand.call("watch", job_id) == 0


async def test_going_back_from_the_review_starts_nothing_and_keeps_the_form(
    agent_at_hand: Console, two_talks: Path
) -> None:
    async with open_form(JobDraft(dataset=str(two_talks), name="Kept")) as form:
        known = len(await form.session.store.list_jobs())
        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.press("escape")
        await form.until_on(NewJobScreen)

        assert form.draft.name == "Kept"
        assert not form.app.new_job.query_one("#review", Button).disabled
        assert len(await form.session.store.list_jobs()) == known


async def test_pressing_twice_starts_one_job(agent_at_hand: Console, two_talks: Path) -> None:
    draft = JobDraft(dataset=str(two_talks), name="Only one", notes="steps=1")
    async with open_form(draft) as form:
        await form.press("ctrl+s", "ctrl+s", "ctrl+s")
        await form.until_on(ReviewScreen)
        await form.press("enter", "enter", "ctrl+s", "enter")
        await form.until(lambda: form.app.result != NOT_LEFT)

        jobs = await form.session.store.list_jobs()
        assert [job.job_id for job in jobs if job.spec.name == "Only one"] == [form.app.result]


async def test_the_time_is_estimated_from_an_earlier_job_and_says_so(
    agent_at_hand: Console, two_talks: Path
) -> None:
    await agent_at_hand.start_beside("job-before", "steps=3", "Before")
    assert await agent_at_hand.call("watch", "job-before") == 0
    async with open_form(JobDraft(dataset=str(two_talks)), size=(240, 40)) as form:
        # The stand-in says that it trains 100 tokens in 0.1 s.
        await form.until_seen("in all: start-up", "; training 0:00:00, ", "past job")
        await form.paste("base_model", "smollm2")
        await form.until_seen("no earlier job with this model was measured on local")


async def test_a_host_that_cannot_start_its_agent_leaves_the_form_as_it_was(
    home: Path, two_talks: Path
) -> None:
    home.mkdir()
    (home / "agent").write_text("a file is in the way")
    async with open_form(JobDraft(dataset=str(two_talks), name="Tried twice")) as form:
        for _ in range(2):
            await form.press("ctrl+s")
            await form.until_on(ReviewScreen)
            await form.press("enter")
            await form.until_on(NewJobScreen)
            await form.until_seen("cannot be made")

        assert form.draft.name == "Tried twice"
        assert form.app.result == NOT_LEFT
        # The second try went on with the job that the first had written down.
        assert len(await form.session.store.list_jobs()) == 1


@pytest.mark.parametrize("name", ["learning_rate", "lora_r", "target_modules"])
async def test_a_wrong_value_shows_what_is_allowed_and_cannot_be_started(
    home: Path, two_talks: Path, name: str
) -> None:
    async with open_form(JobDraft(dataset=str(two_talks))) as form:
        await form.type(name, ",")
        await form.until(lambda: form.row(name).has_class("-wrong"))
        await form.until_seen(f"✗ {name}", f"not yet: {name}: must be {allowed_range(name)}")

        await form.type("name", "x")
        await form.press("ctrl+s")
        await form.pilot.pause()

        assert isinstance(form.app.screen, NewJobScreen)
        assert form.shown(name) == ","
        await form.until(lambda: form.app.focused is form.row("name").editor)


async def test_the_first_wrong_field_is_focused_when_a_start_is_refused(
    home: Path, two_talks: Path
) -> None:
    draft = JobDraft(dataset=str(two_talks), hyperparameters={"seed": "x"})
    async with open_form(draft, size=(80, 24)) as form:
        await form.press("ctrl+s")
        await form.until(lambda: form.app.focused is form.row("seed").editor)
        await form.until_seen("must be a whole number at least 0")


async def test_another_preset_keeps_what_was_changed_by_hand(home: Path) -> None:
    async with open_form() as form:
        await form.type("learning_rate", *"1e-5")
        await form.choose("preset", Preset.AGGRESSIVE)
        await form.until(lambda: form.shown("lora_r") == "32")

        assert form.shown("learning_rate") == "1e-5"
        assert form.row("learning_rate").has_class("-changed")
        assert not form.row("lora_r").has_class("-changed")

        form.row("learning_rate").editor.focus()
        await form.press("ctrl+r")
        await form.until(lambda: form.shown("learning_rate") == "0.0003")
        assert not form.row("learning_rate").has_class("-changed")
        assert form.draft.hyperparameters == {}


async def test_the_arrow_beside_a_changed_field_puts_it_back(home: Path) -> None:
    async with open_form() as form:
        await form.type("num_epochs", "9")
        await form.until(lambda: form.row("num_epochs").has_class("-changed"))

        await form.pilot.click("#row-num_epochs .reset")

        await form.until(lambda: form.shown("num_epochs") == "3")


async def test_every_hyperparameter_has_a_field_in_the_order_of_the_model(home: Path) -> None:
    async with open_form() as form:
        rows = form.app.new_job.query_one(HyperparameterForm).query(SettingRow)
        fields = [row.field for row in rows]

    assert fields == ["preset", *Hyperparameters.model_fields]


async def test_a_file_with_errors_cannot_be_started(home: Path, faulty: Path) -> None:
    async with open_form(JobDraft(dataset=str(faulty))) as form:
        await form.until_seen("1 error, 1 warning", "the training file has 1 error")
        lines = form.text.splitlines()
        worst = next(i for i, line in enumerate(lines) if "error  blank" in line)
        assert worst < next(i for i, line in enumerate(lines) if "warning  cut" in line)

        await form.press("ctrl+s")
        await form.until_seen("cannot be started: the training file has 1 error")

        assert isinstance(form.app.screen, NewJobScreen)
        assert await form.session.store.list_jobs() == []


async def test_a_file_that_is_mended_meanwhile_is_looked_at_again(
    home: Path, faulty: Path, two_talks: Path
) -> None:
    async with open_form(JobDraft(dataset=str(faulty))) as form:
        await form.until_seen("the training file has 1 error")
        shutil.copy(two_talks, faulty)
        await form.press("f5")
        await form.until_seen("ready to review", "no findings")


async def test_a_file_that_cannot_be_read_says_so_at_its_field(home: Path, tmp_path: Path) -> None:
    async with open_form() as form:
        await form.paste("dataset", str(tmp_path))
        await form.until_seen("✗ dataset", "is a directory")
        (tmp_path / "bad.json").write_text("{")
        await form.paste("dataset", str(tmp_path / "bad.json"))
        await form.until_seen("line 1, column 2")


async def test_a_path_completes_as_in_a_shell_and_recent_files_are_offered(
    agent_at_hand: Console, two_talks: Path
) -> None:
    await agent_at_hand.start_beside("job-recent", "steps=1", "Recent")
    async with open_form() as form:
        path_input = form.row("dataset").editor
        assert isinstance(path_input, PathInput)
        await form.paste("dataset", str(two_talks)[:-6])
        await form.until(lambda: path_input._completion[1] == str(two_talks))
        await form.press("tab")
        await form.until(lambda: form.draft.dataset == str(two_talks))
        assert form.app.focused is path_input

        await form.until(lambda: path_input.recent.texts)
        await form.press("down")
        await form.until(lambda: form.draft.dataset == path_input.recent.texts[0])
        await form.press("up", "tab")
        assert form.draft.dataset == str(two_talks)
        assert form.app.focused is form.row("name").editor


async def test_leaving_asks_only_if_something_was_typed(home: Path) -> None:
    async with open_form() as form:
        await form.type("tags", "x")
        await form.press("escape")
        await form.until_on(ConfirmScreen)
        await form.press("enter")
        await form.until_on(NewJobScreen)
        assert form.app.result == NOT_LEFT

        await form.press("backspace", "escape")
        await form.until(lambda: form.app.result is None)


async def test_leaving_for_sure_loses_what_was_typed(home: Path) -> None:
    async with open_form() as form:
        await form.type("name", "x")
        await form.press("escape")
        await form.until_on(ConfirmScreen)
        await form.press("y")
        await form.until(lambda: form.app.result is None)
