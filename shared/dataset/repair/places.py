"""Finds where in a JSON text the values of some members stand, so that only these are rewritten.

All else stays byte for byte: order, indents, numbers, unknown members. Knows the JSON, not what is
to be repaired.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from shared.dataset.json_walk import JsonWalk

Wanted: TypeAlias = "Mapping[str, Wanted] | list[Wanted] | None"
"""What to find: members of an object, all items of a list (one pattern), or the value itself."""


@dataclass(slots=True)
class Node:
    """A value and its place. `members` and `items` are filled where they were wanted."""

    start: int
    end: int = 0
    value: Any = None
    """Of what was wanted itself, and of what is of another type than it was thought to be."""
    members: dict[str, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)

    def text_of(self, name: str) -> str:
        """The text of a member; empty where there is none."""
        node = self.members.get(name)
        return node.value if node is not None and isinstance(node.value, str) else ""


class Edit(NamedTuple):
    """What is to stand between two places in a text instead."""

    start: int
    end: int
    text: str


def locate(walk: JsonWalk, wanted: Wanted) -> Node:
    """The value at the walk's place, which moves behind it.

    Raises:
        UnreadableDataset: the text is not JSON there.
    """
    first = walk.peek()
    node = Node(walk.position)
    if isinstance(wanted, Mapping) and first == "{":
        for name in walk.members():
            if name in wanted:
                node.members[name] = locate(walk, wanted[name])
            else:
                walk.value()
    elif isinstance(wanted, list) and first == "[":
        node.items = [locate(walk, wanted[0]) for _ in walk.items()]
    else:
        node.value = walk.value()
    node.end = walk.position
    return node


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits; they do not overlap."""
    pieces: list[str] = []
    position = 0
    for edit in sorted(edits):
        pieces += [text[position : edit.start], edit.text]
        position = edit.end
    return "".join([*pieces, text[position:]])


def string_like(token: str, value: str) -> str:
    """`value` as a JSON string, with other than ASCII characters escaped if `token` has it so."""
    escapes = token.isascii() and "\\u" in token
    written = json.dumps(value, ensure_ascii=escapes)
    try:
        written.encode()
    except UnicodeEncodeError:  # Half a character, which only an escape can write.
        return json.dumps(value)
    return written


def object_like(token: str, value: Mapping[str, int]) -> str:
    """An object of numbers, on as many lines and with the indents that `token` has."""
    body, closing = token[1:-1], token[1:-1].rpartition("\n")[2]
    if "\n" not in body or not value:
        colon = ":" if '":' in token and '": ' not in token else ": "
        comma = "," if colon == ":" else ", "
        return json.dumps(value, ensure_ascii=False, separators=(comma, colon))
    inner = body[: len(body) - len(body.lstrip())]
    members = [f"{json.dumps(name, ensure_ascii=False)}: {count}" for name, count in value.items()]
    return "{" + inner + f",{inner}".join(members) + "\n" + closing + "}"
