"""Keys that move the chosen version from status to status, or delete it; each asks for a reason."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel

from shared.clean_text import clean_line
from shared.deployment import DeploymentStatus
from shared.errors import BrightRunError
from shared.model_version import ModelVersion, checked_reason, why_not, why_not_deleted
from tui.screens.console_screen import ConsoleScreen
from tui.screens.typed_line import TypedLineScreen
from tui.services.model_files import delete_version
from tui.services.models import move_version
from tui.services.session import Session
from tui.views.model_rows import REMOVES, removal_lines

_UP = {
    DeploymentStatus.STORED: DeploymentStatus.TESTING,
    DeploymentStatus.TESTING: DeploymentStatus.PRODUCTION,
    DeploymentStatus.ARCHIVED: DeploymentStatus.STORED,
}
"""Where `p` leads."""
_KEPT = "Why? It is kept in the version's history, with your name and the time."
_OF_KEPT_ONES = {"promote", "back_to_stored", "archive"}


class VersionKeys(ConsoleScreen[None]):
    """A screen of versions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "promote", "Promote", tooltip="Stored to testing; production is closed"),
        Binding(
            "b",
            "back_to_stored",
            "Back to stored",
            tooltip="From testing, or from the archive",
            show=False,
        ),
        Binding("a", "archive", "Archive", tooltip="Not used any more; its files stay"),
        # Named in the help alone: a footer of 80 columns has no room for it.
        Binding("D", "delete", "Delete", tooltip="Remove its files; the record stays", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def chosen_version(self) -> ModelVersion | None:
        """The version that the keys act upon."""
        raise NotImplementedError

    def look_again(self) -> None:
        """Something has changed."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible with the chosen version stands in the footer."""
        if action not in _OF_KEPT_ONES | {"delete"}:
            return True
        version = self.chosen_version()
        if version is None:
            return False
        match action:
            case "promote":
                return not version.is_deleted and version.status in _UP
            case "back_to_stored":
                return not why_not(version, DeploymentStatus.STORED)
            case "archive":
                return not why_not(version, DeploymentStatus.ARCHIVED)
            case _:
                return not why_not_deleted(version)

    def action_promote(self) -> None:
        """One status further."""
        version = self.chosen_version()
        if version is not None and version.status in _UP:
            self._move(version, _UP[version.status])

    def action_back_to_stored(self) -> None:
        """From testing, or from the archive."""
        if (version := self.chosen_version()) is not None:
            self._move(version, DeploymentStatus.STORED)

    def action_archive(self) -> None:
        """It is not used any more."""
        if (version := self.chosen_version()) is not None:
            self._move(version, DeploymentStatus.ARCHIVED)

    @work(group="ask", exclusive=True)
    async def _move(self, version: ModelVersion, to: DeploymentStatus) -> None:
        if refusal := why_not(version, to):
            self.notify(clean_line(refusal), severity="warning", timeout=10, markup=False)
            return
        why = await self._reason(f"{version.reference}: {version.status} -> {to}", "Change it")
        if why is None:
            return
        try:
            moved = await move_version(self._session, version, to, why)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.notify(f"{moved.reference} is {moved.status}.", markup=False)
        self.look_again()

    @work(group="ask", exclusive=True)
    async def action_delete(self) -> None:
        """Ask why, then remove its files."""
        if (version := self.chosen_version()) is None:
            return
        question = f"Delete {version.reference} (job {clean_line(version.job_id)})?"
        why = await self._reason(question, "Delete its files", f"{REMOVES} {_KEPT}")
        if why is None:
            return
        try:
            _, removal = await delete_version(self._session, version, why)
        except BrightRunError as error:
            self.complain(error)
        else:
            words = clean_line("; ".join(removal_lines(removal)))
            is_well = not removal.troubles
            severity: SeverityLevel = "information" if is_well else "error"
            self.notify(words, severity=severity, timeout=10, markup=False)
        self.look_again()

    async def _reason(self, question: str, button: str, detail: str = _KEPT) -> str | None:
        asked = TypedLineScreen(question, detail, value="", button=button, check=checked_reason)
        return await self.app.push_screen_wait(asked)
