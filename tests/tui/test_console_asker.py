"""Questions of a connection, as a person at the full-screen console meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from textual.message import Message
from textual.widgets import Button

from tests.tui.console_pilot import ConsolePilot
from tests.tui.hostile import HOSTILE, SEEN, harm_on
from tui.app import BrightRunApp
from tui.config import Config
from tui.console_asker import ConsoleAsker
from tui.screens.host_key import HostKeyScreen
from tui.screens.jobs import JobsScreen
from tui.screens.passphrase import Passphrase, PassphraseScreen
from tui.services.ssh.asker import asking

FINGERPRINT = "SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s"
SECRET = "open-sesame-77"
Answer = TypeVar("Answer")


class Opened(ConsolePilot):
    """A console without jobs, and all messages that went through it, as a log would have them."""

    messages: list[str]

    @property
    def asker(self) -> ConsoleAsker:
        return self.app._asker

    async def asked(self, question: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """The question as a task of no worker's, in which a person has just done something."""

        async def ask() -> Answer:
            with asking():
                return await question

        task = asyncio.create_task(ask())
        await self.pilot.pause()
        return task

    async def until_on(self, kind: type) -> None:
        await self.until(lambda: isinstance(self.app.screen, kind) and self.app.screen.is_mounted)
        await self.pilot.pause()


@pytest.fixture
async def opened(home: Path) -> AsyncIterator[Opened]:
    app = BrightRunApp(Config(home, home / "agent"))
    messages: list[str] = []

    def hear(message: Message) -> None:
        messages.append(f"{message!r} {vars(message)!r}")

    async with app.run_test(size=(100, 30), notifications=True, message_hook=hear) as pilot:
        made = Opened(app, pilot)
        made.messages = messages
        await made.until(lambda: app.session is not None)
        yield made


def host_key(opened: Opened, host: str = "ssh:box") -> Coroutine[Any, Any, bool]:
    return opened.asker.trust_host_key(host, "ssh-ed25519", FINGERPRINT)


async def test_a_host_key_is_shown_as_openssh_prints_it_and_enter_alone_refuses(
    opened: Opened,
) -> None:
    asked = await opened.asked(host_key(opened))
    await opened.until_on(HostKeyScreen)
    await opened.until_seen(
        "Is this ssh:box?",
        f"{FINGERPRINT}",
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        "Trust",
        "Refuse",
    )
    assert opened.app.focused is opened.app.screen.query_one("#refuse", Button)

    await opened.press("y", "t", "enter")
    assert await asked is False
    await opened.until_on(JobsScreen)


async def test_a_host_key_is_trusted_by_its_button(opened: Opened) -> None:
    asked = await opened.asked(host_key(opened))
    await opened.until_on(HostKeyScreen)
    await opened.press("left", "enter")
    assert await asked is True


async def test_escape_refuses_a_host_key(opened: Opened) -> None:
    asked = await opened.asked(host_key(opened))
    await opened.until_on(HostKeyScreen)
    await opened.press("escape")
    assert await asked is False


@pytest.mark.parametrize("way", ["typed", "pasted"])
async def test_a_passphrase_is_given_and_seen_nowhere(opened: Opened, way: str) -> None:
    asked = await opened.asked(opened.asker.passphrase("/home/me/.ssh/id_ed25519"))
    await opened.until_on(PassphraseScreen)
    await opened.until_seen("Passphrase of /home/me/.ssh/id_ed25519")
    if way == "typed":
        await opened.press(*SECRET)
    else:
        opened.app.screen.query_one("#passphrase").insert_text_at_cursor(SECRET)  # type: ignore[attr-defined]
    await opened.until_seen("•" * len(SECRET))
    assert SECRET not in opened.text
    await opened.press("shift+home", "ctrl+c", "ctrl+x", "enter")

    assert await asked == SECRET
    await opened.until_on(JobsScreen)
    assert opened.app.clipboard == ""
    assert len(opened.messages) > 20
    assert [message for message in opened.messages if SECRET in message] == []


def test_the_repr_of_a_passphrase_does_not_have_it() -> None:
    assert SECRET not in repr(Passphrase(SECRET))


@pytest.mark.parametrize("keys", [("escape",), ("enter",), (*"abc", "tab", "right", "escape")])
async def test_whoever_gives_no_passphrase_gives_up(opened: Opened, keys: tuple[str, ...]) -> None:
    asked = await opened.asked(opened.asker.passphrase("/k"))
    await opened.until_on(PassphraseScreen)
    await opened.press(*keys)
    assert await asked is None


async def test_what_nobody_has_asked_for_shows_no_dialog_and_gets_a_no(opened: Opened) -> None:
    assert await host_key(opened) is False
    assert await opened.asker.passphrase("/k") is None
    await opened.pilot.pause()
    assert isinstance(opened.app.screen, JobsScreen)


async def test_questions_come_one_after_the_other(opened: Opened) -> None:
    first = await opened.asked(host_key(opened, "ssh:first"))
    second = await opened.asked(host_key(opened, "ssh:second"))
    await opened.until_seen("Is this ssh:first?")
    assert len(opened.app.screen_stack) == 2
    await opened.press("left", "enter")
    assert await first is True
    await opened.until_seen("Is this ssh:second?")
    await opened.press("enter")
    assert await second is False


async def test_a_question_that_nobody_waits_for_any_more_leaves_the_screen(opened: Opened) -> None:
    asked = await opened.asked(host_key(opened))
    await opened.until_on(HostKeyScreen)
    asked.cancel()
    await opened.until_on(JobsScreen)


async def test_a_question_below_the_palette_leaves_once_the_palette_does(opened: Opened) -> None:
    asked = await opened.asked(host_key(opened))
    await opened.until_on(HostKeyScreen)
    await opened.press("ctrl+p")
    await opened.until(lambda: len(opened.app.screen_stack) == 3)
    asked.cancel()
    await opened.pilot.pause()
    await opened.press("escape")
    await opened.until_on(JobsScreen)


async def test_a_console_that_closes_answers_no(home: Path) -> None:
    app = BrightRunApp(Config(home, home / "agent"))
    async with app.run_test() as pilot:
        opened = Opened(app, pilot)
        asked = await opened.asked(host_key(opened))
        waiting = await opened.asked(opened.asker.passphrase("/k"))
        await opened.until_on(HostKeyScreen)
    async with asyncio.timeout(5):
        assert await asked is False
        assert await waiting is None


async def test_hostile_names_do_no_harm(opened: Opened) -> None:
    key = await opened.asked(opened.asker.trust_host_key(HOSTILE, HOSTILE, HOSTILE))
    await opened.until_seen(SEEN)
    assert harm_on(opened.app) == []
    await opened.press("escape")
    assert await key is False
    phrase = await opened.asked(opened.asker.passphrase(HOSTILE))
    await opened.until_seen("Passphrase of", SEEN)
    assert harm_on(opened.app) == []
    await opened.press("escape")
    assert await phrase is None
