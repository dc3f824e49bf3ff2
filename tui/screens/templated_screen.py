"""A form that can begin with a template, and be kept as one."""

from __future__ import annotations

from textual import work

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.job_template import JobTemplate
from tui.screens.confirm import ConfirmScreen
from tui.screens.launch_screen import LaunchScreen
from tui.screens.template_choice import SAVE, TemplateChoiceScreen
from tui.screens.typed_line import TypedLineScreen
from tui.services.rent_plan import RentWanted
from tui.services.templates import checked_name, save_template, wanted_with
from tui.views.job_draft import JobDraft
from tui.views.rent_draft import RentDraft
from tui.views.template_draft import draft_with, template_of_draft


class TemplatedScreen(LaunchScreen):
    """What is typed is a `JobDraft`; how it is drawn is for the screen that follows."""

    @property
    def draft(self) -> JobDraft:
        """As the form stands."""
        raise NotImplementedError

    async def take_draft(self, draft: JobDraft) -> None:
        """Show another draft in place of the form's."""
        raise NotImplementedError

    @work(group="template", exclusive=True)
    async def action_templates(self) -> None:
        """Choose one, or keep the form."""
        if self.doing:
            return
        try:
            templates = await self.session.store.templates.all()
            chosen = await self.app.push_screen_wait(TemplateChoiceScreen(templates))
            if isinstance(chosen, JobTemplate):
                if chosen.machine is not None:
                    wanted = wanted_with(RentWanted(), chosen.machine)
                    self.rent_draft = RentDraft.of_wanted(wanted)
                await self.take_draft(draft_with(chosen, self.draft))
            elif chosen == SAVE:
                await self._save([each.name for each in templates])
        except BrightRunError as error:
            self.complain(error)

    async def _save(self, taken: list[str]) -> None:
        template = template_of_draft(self.draft, self.rent_draft)
        detail = "Everything on the form but its file and name."
        asked = TypedLineScreen(
            "Save as a template", detail, value="", button="Save", check=checked_name
        )
        typed = await self.app.push_screen_wait(asked)
        if typed is None:
            return
        name = checked_name(typed)
        if name in taken:
            question = ConfirmScreen(
                f"Replace the template “{name}”?", "What it holds is lost.", yes="Replace", no="No"
            )
            if not await self.app.push_screen_wait(question):
                return
        await save_template(self.session.store, name, template, replace_it=name in taken)
        self.notify(clean_line(f"template {name} is kept"), markup=False)
