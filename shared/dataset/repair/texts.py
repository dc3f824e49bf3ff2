"""Repairs inside conversations: literal `\\n`, wrong `total_turns`, cut targets on request.

Works on one JSON text, a document or a line of JSONL, and says which places of it to write anew.
The same text gets the same line breaks wherever it stands, so histories go on repeating the turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.dataset.cut_targets import ends_cut
from shared.dataset.json_walk import JsonWalk
from shared.dataset.literal_newlines import literal_newlines, replace_literal_newlines
from shared.dataset.raw import MESSAGE_LISTS
from shared.dataset.repair.log import RepairLog, around
from shared.dataset.repair.places import Edit, Node, Wanted, locate, string_like
from shared.dataset.shapes import Kind, Shape

_PAIR: Wanted = {
    "conversation_id": None,
    "system_prompt": None,
    "conversation_history": [{"content": None}],
    "current_user_input": None,
    "target_response": None,
}
_CONVERSATION: Wanted = {
    "conversation_metadata": {"conversation_id": None, "total_turns": None},
    "training_pairs": [_PAIR],
}
_MESSAGES: Wanted = [
    {"role": None, "from": None, "weight": None, "content": [{"text": None}], "value": None}
]
_CUT = "cut_target"
_TAIL = 50


class TextRepairs:
    """Repairs one JSON text; `log` hears of each repair."""

    def __init__(self, text: str, layout: Shape, exclude_cut: bool, log: RepairLog) -> None:
        self._text = text
        self._layout = layout
        self._exclude_cut = exclude_cut
        self._log = log
        self.drops_line = False
        """True once a line of JSONL is to be left out, because its target is cut."""

    def edits(self, walk: JsonWalk, line_number: int | None = None) -> Iterator[Edit]:
        """What to write anew. The walk is over the same text, and ends behind its one value."""
        kind = self._layout.kind
        if line_number is not None:
            place = f"line {line_number}"
            if kind is Kind.BRIGHTRUN:
                yield from self._line(locate(walk, _PAIR), place)
            else:
                yield from self._chat(locate(walk, self._wanted_chat), f"{place}, ")
        elif kind is Kind.BRIGHTRUN:
            for index in _members_items(walk, "conversations"):
                node = locate(walk, _CONVERSATION)
                yield from self._conversation(node, f"conversations[{index}]")
        elif kind is Kind.ENRICHED:
            for index in _members_items(walk, "training_pairs"):
                node = locate(walk, _PAIR)
                conversation_id = node.text_of("conversation_id")
                yield from self._pair(node, f"training_pairs[{index}].", conversation_id)
        elif walk.peek() == "[":
            for index in walk.items():
                yield from self._chat(locate(walk, self._wanted_chat), f"[{index}].")
        else:
            yield from self._chat(locate(walk, self._wanted_chat), "")

    @property
    def _wanted_chat(self) -> Wanted:
        return {MESSAGE_LISTS[self._layout.kind]: _MESSAGES}

    # --- brightrun ----------------------------------------------------------------------------

    def _conversation(self, node: Node, place: str) -> Iterator[Edit]:
        pairs = node.members.get("training_pairs")
        metadata = node.members.get("conversation_metadata")
        if pairs is None or pairs.value is not None or metadata is None:
            return  # Not for us: reading it again tells what is wrong.
        declared = metadata.members.get("total_turns")
        if declared is not None and declared.value != len(pairs.items):
            yield self._count(declared, f"{place}.conversation_metadata.total_turns", pairs)
        # Ids repeat in broken files; the place does not.
        for index, pair in enumerate(pairs.items):
            yield from self._pair(pair, f"{place}.training_pairs[{index}].", place)

    def _count(self, declared: Node, place: str, pairs: Node) -> Edit:
        counted = str(len(pairs.items))
        self._log.add("metadata_count", place, str(declared.value), counted)
        return Edit(declared.start, declared.end, counted)

    def _line(self, node: Node, place: str) -> Iterator[Edit]:
        target = node.text_of("target_response")
        if self._exclude_cut and ends_cut(target):
            self.drops_line = True
            self._log.add(_CUT, place, target[-_TAIL:], "the line is left out")
            return
        yield from self._pair(node, f"{place}, ", node.text_of("conversation_id"))

    def _pair(self, node: Node, place: str, conversation: str) -> Iterator[Edit]:
        members = node.members
        for name in ("system_prompt", "current_user_input"):
            yield from self._line_breaks(members.get(name), place + name, conversation)
        history = members.get("conversation_history")
        for index, message in enumerate(history.items if history is not None else ()):
            content = message.members.get("content")
            inside = f"{place}conversation_history[{index}].content"
            yield from self._line_breaks(content, inside, conversation)
        target, inside = members.get("target_response"), f"{place}target_response"
        if target is not None and self._exclude_cut and ends_cut(node.text_of("target_response")):
            self._log.add(_CUT, inside, target.value[-_TAIL:], "null")
            yield Edit(target.start, target.end, "null")
        else:
            yield from self._line_breaks(target, inside, conversation)

    # --- chat ---------------------------------------------------------------------------------

    def _chat(self, node: Node, place: str) -> Iterator[Edit]:
        name = MESSAGE_LISTS[self._layout.kind]
        messages = node.members.get(name)
        for index, message in enumerate(messages.items if messages is not None else ()):
            inside = f"{place}{name}[{index}]"
            for part in _contents(message):
                yield from self._line_breaks(part, inside, conversation=place)
            if self._exclude_cut and _is_trained(message):
                said = "".join(
                    part.value for part in _contents(message) if isinstance(part.value, str)
                )
                if ends_cut(said):
                    self._log.add(_CUT, inside, said[-_TAIL:], '"weight": 0')
                    yield self._without_weight(message)

    def _without_weight(self, message: Node) -> Edit:
        weight = message.members.get("weight")
        if weight is not None:
            return Edit(weight.start, weight.end, "0")
        # Behind the content, parted as the object's members are.
        end = message.members["value" if "value" in message.members else "content"].end
        opening = self._text[message.start + 1 :]
        margin = opening[: len(opening) - len(opening.lstrip())]
        is_wide = '": ' in self._text[message.start : message.end]
        space = " " if is_wide else ""
        return Edit(end, end, f",{margin or space}" + f'"weight":{space}0')

    # --- texts --------------------------------------------------------------------------------

    def _line_breaks(self, node: Node | None, place: str, conversation: str) -> Iterator[Edit]:
        value: Any = node.value if node is not None else None
        if node is None or not isinstance(value, str):
            return
        positions = literal_newlines(value)
        if positions:
            mended = replace_literal_newlines(value)
            before, after = around(value, positions[0]), around(mended, positions[0])
            key = (conversation, hash(value))
            self._log.add("literal_newline", place, before, after, key=key)
            token = self._text[node.start : node.end]
            yield Edit(node.start, node.end, string_like(token, mended))


def _members_items(walk: JsonWalk, name: str) -> Iterator[int]:
    """The indices of the list under `name` in the object here; other members are passed over."""
    for key in walk.members():
        if key == name and walk.peek() == "[":
            yield from walk.items()
        else:
            walk.value()


def _contents(message: Node) -> list[Node]:
    """The texts of a message: one, or those of its parts."""
    is_share_gpt = "from" in message.members and "role" not in message.members
    content = message.members.get("value" if is_share_gpt else "content")
    if content is None:
        return []
    if content.items:
        return [part.members["text"] for part in content.items if "text" in part.members]
    return [content]


def _is_trained(message: Node) -> bool:
    role = message.text_of("role") or message.text_of("from")
    weight = message.members.get("weight")
    return role in ("assistant", "gpt") and (weight is None or weight.value != 0)
