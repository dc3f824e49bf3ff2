"""Templates in the form of a new job: one is taken, the form is kept, a newer one is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.job_template import JobTemplate, MachineWishes
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.local_console import Console
from tests.tui.screens.new_job_form import open_form
from tui.screens.new_job import NewJobScreen
from tui.screens.rent import RentScreen
from tui.screens.template_choice import TemplateChoiceScreen
from tui.screens.typed_line import TypedLineScreen
from tui.services.session import Session
from tui.services.templates import save_template
from tui.views.job_draft import JobDraft

HOSTILE = "[red]big[/] \x1b]52;c;eA==\x07one"


@pytest.fixture
def draft(tmp_path: Path) -> JobDraft:
    return JobDraft(dataset=str(Console(tmp_path).dataset), name="mine")


async def test_a_template_fills_the_form_and_leaves_file_and_name(
    home: Path, draft: JobDraft
) -> None:
    async with open_form(draft) as form:
        template = JobTemplate(base_model="smollm2", hyperparameters={"lora_r": "8"})
        await form.session.store.templates.save(HOSTILE, template.model_dump(mode="json"))
        await form.session.store.templates.save("newer", {"of_the_future": 1})
        await form.press("ctrl+t")
        await form.until_on(TemplateChoiceScreen)
        await form.until_seen("[red]big[/] one", "lora_r 8", "newer", "does not know of_the_future")
        await form.press("enter")
        await form.until_on(NewJobScreen)
        await form.until(lambda: form.draft.base_model == "smollm2")
        assert (form.shown("name"), form.shown("lora_r")) == ("mine", "8")
        assert form.draft.dataset == draft.dataset
        await form.until_counted()
        # What was put in is a change: leaving asks.
        await form.press("escape")
        await form.until_seen("Leave this form?")


async def test_the_form_is_kept_under_a_name_and_replaced_only_after_a_yes(
    home: Path, draft: JobDraft
) -> None:
    async with open_form(draft) as form:
        for lora_r in ("8", "32"):
            await form.type("lora_r", *lora_r)
            await form.press("ctrl+t")
            await form.until_on(TemplateChoiceScreen)
            await form.press("s")
            await form.until_on(TypedLineScreen)
            await form.press(*"big", "enter")
            if lora_r == "32":
                await form.until_seen("Replace the template “big”?")
                await form.press("y")
            async with asyncio.timeout(20):
                while not await _keeps(form.session, lora_r):
                    await form.pilot.pause(0.02)
            await form.until_on(NewJobScreen)


async def _keeps(session: Session, lora_r: str) -> bool:
    found = {each.name: each for each in await session.store.templates.all()}
    return "big" in found and found["big"].settings["hyperparameters"] == {"lora_r": lora_r}


async def test_a_template_with_a_machine_fills_its_form_too(
    runpod: FakeRunpod, draft: JobDraft
) -> None:
    wishes = MachineWishes(budget_usd=7, gpu_types=("H100_SXM",), max_interruptions=1)
    async with open_form(draft, size=(150, 50)) as form:
        await save_template(form.session.store, "rent", JobTemplate(machine=wishes))
        await form.press("ctrl+t")
        await form.until_on(TemplateChoiceScreen)
        await form.press("enter")
        await form.until_on(NewJobScreen)
        await form.until_seen("rented: the machine is chosen")
        await form.press("ctrl+s")
        await form.until_on(RentScreen)
        screen = form.app.screen
        assert isinstance(screen, RentScreen)
        shown = screen.query_one("RentForm").draft  # type: ignore[attr-defined]
        assert (shown.budget_usd, shown.gpus, shown.max_interruptions) == ("7", "H100_SXM", "1")
