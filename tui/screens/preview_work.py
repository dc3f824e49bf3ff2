"""What the preview of conversations does in threads; each result comes back as a message."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.message import Message
from textual.worker import get_current_worker

from shared.chat_format import ChatEncoder
from shared.dataset.token_view import ConversationView, view_conversation
from shared.errors import BrightRunError
from tui.screens.console_screen import ConsoleScreen
from tui.services.conversation_finder import ConversationFinder, Wanted
from tui.services.found_conversation import Found, Place
from tui.services.inspection import encoder_of
from tui.views.conversation_filter import holds, text_pattern

_TELL_EVERY_S = 0.1


class PreviewWork(ConsoleScreen[None]):
    """Opens, reads, lists and searches; draws nothing."""

    @dataclass
    class Opened(Message):
        """The file is open at the conversation that was wanted."""

        finder: ConversationFinder
        found: Found

    @dataclass
    class EncoderKnown(Message):
        """None where the tokenizer is not on this machine, or is damaged."""

        encoder: ChatEncoder | None
        error: BrightRunError | None = None

    @dataclass
    class Viewed(Message):
        """A conversation is ready to be drawn."""

        found: Found
        view: ConversationView

    @dataclass
    class Counting(Message):
        """So much of the file has been gone through, of 1."""

        share: float

    @dataclass
    class Counted(Message):
        """All conversations of the file."""

        places: list[Place]

    @dataclass
    class Searched(Message):
        """Numbers of the conversations that hold the text, when so much is searched, of 1."""

        query: str
        numbers: list[int]
        share: float

    @dataclass
    class Failed(Message):
        """What was wanted cannot be shown."""

        error: BrightRunError

    def __init__(self, max_seq_length: int) -> None:
        super().__init__()
        self._max_seq_length = max_seq_length

    @work(thread=True, group="encoder")
    def load_encoder(self, base_model: str) -> None:
        """The base model's own tokenizer. A large one keeps all threads waiting for 0.4 s."""
        try:
            self.post_message(self.EncoderKnown(encoder_of(base_model)))
        except BrightRunError as error:
            self.post_message(self.EncoderKnown(None, error))

    @work(thread=True, group="open")
    def open_file(self, path: Path, wanted: Wanted) -> None:
        """The file, and one conversation of it."""
        try:
            finder = ConversationFinder(path)
            found = finder.find(wanted)
        except BrightRunError as error:
            self.post_message(self.Failed(error))
            return
        self.post_message(self.Opened(finder, found))

    @work(thread=True, group="view", exclusive=True)
    def read(
        self, finder: ConversationFinder, which: Found | Place, encoder: ChatEncoder | None
    ) -> None:
        """One conversation, and its tokens."""
        worker = get_current_worker()
        try:
            found = finder.read(which) if isinstance(which, Place) else which
            view = view_conversation(
                found.conversation, encoder=encoder, max_seq_length=self._max_seq_length
            )
        except BrightRunError as error:
            self.post_message(self.Failed(error))
            return
        # Somebody who holds the key down wants the last one only.
        if not worker.is_cancelled:
            self.post_message(self.Viewed(found, view))

    @work(thread=True, group="count", exclusive=True)
    def count(self, finder: ConversationFinder) -> None:
        """All conversations of the file."""
        worker, clock = get_current_worker(), _Clock()
        places: list[Place] = []

        def tell(done_bytes: int) -> None:
            if clock.is_due():
                self.post_message(self.Counting(done_bytes / max(finder.size_bytes, 1)))

        try:
            for place in finder.places(tell):
                if worker.is_cancelled:
                    return
                places.append(place)
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Counted(places))

    @work(thread=True, group="search", exclusive=True)
    def search(self, finder: ConversationFinder, places: Sequence[Place], query: str) -> None:
        """Those of the conversations that hold the text."""
        worker, clock, pattern = get_current_worker(), _Clock(), text_pattern(query)
        numbers: list[int] = []
        for done, place in enumerate(places):
            if worker.is_cancelled:
                return
            if clock.is_due():
                self.post_message(self.Searched(query, list(numbers), done / len(places)))
            try:
                if holds(finder.read(place).conversation, pattern):
                    numbers.append(place.number)
            except BrightRunError:
                continue  # It is told when somebody comes to it.
        self.post_message(self.Searched(query, numbers, 1.0))


class _Clock:
    """Says now and then that it is time to tell how far one is."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _TELL_EVERY_S

    def is_due(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + _TELL_EVERY_S
        return True
