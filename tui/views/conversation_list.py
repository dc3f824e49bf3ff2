"""The list of a file's conversations: which are shown, and which comes next."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

from tui.services.found_conversation import Found, Place
from tui.views.conversation_filter import Codes, ConversationFilter


class ConversationList:
    """Complete from the beginning, in the order of the file."""

    def __init__(self, places: Sequence[Place], codes: Codes) -> None:
        self.places = places
        self.codes = codes
        self.filter = ConversationFilter()
        self._with_text: frozenset[int] | None = None
        self._numbers = {place.conversation_id: place.number for place in reversed(places)}
        self._choose()

    @property
    def is_searched(self) -> bool:
        return self._with_text is not None

    def show(self, wanted: ConversationFilter) -> None:
        """Only those that pass the filter; a search ends."""
        self.filter, self._with_text = wanted, None
        self._choose()

    def show_with_text(self, numbers: Collection[int] | None) -> None:
        """Of those that pass the filter, only these; None ends the search."""
        self._with_text = None if numbers is None else frozenset(numbers)
        self._choose()

    def _choose(self) -> None:
        self.shown = [
            place
            for place in self.filter.chosen(self.places, self.codes)
            if self._with_text is None or place.number in self._with_text
        ]
        self._shown_numbers = [place.number for place in self.shown]

    def number_of(self, found: Found) -> int | None:
        """Its number, which is not known of one that was opened by its id."""
        if found.number is not None:
            return found.number
        return self._numbers.get(found.conversation.conversation_id)

    def is_shown(self, number: int | None) -> bool:
        return number in self._shown_numbers if number is not None else False

    def rank(self, number: int) -> int:
        """1 for the first one that is shown."""
        return bisect_right(self._shown_numbers, number)

    def step(self, number: int | None, direction: int) -> Place | None:
        """The next one that is shown, or with -1 the one before; None at the ends."""
        numbers = self._shown_numbers
        if direction > 0:
            index = bisect_right(numbers, number or 0)
        else:
            index = bisect_left(numbers, number or 0) - 1
        return self.shown[index] if 0 <= index < len(numbers) else None
