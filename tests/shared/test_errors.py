from __future__ import annotations

import re

from shared import errors

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
}


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│ ]*(?:[├└]── )?)([A-Z]\w+Error|[A-Z]\w+)(?: {2,}|$)", line):
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            drawn[found[2]] = above[depth - 1] if depth else "Exception"
    assert drawn == {name: value.__bases__[0].__name__ for name, value in CLASSES.items()}


def test_what_the_user_can_mend_exits_with_another_code_than_what_the_agent_refuses() -> None:
    assert errors.InvalidDataset("").exit_code == 2
    assert errors.UnknownJob("").exit_code == 4
    assert errors.AgentUnreachable("").exit_code == 5
    assert errors.AdapterRejected("").exit_code == 6


def test_an_agents_refusal_keeps_its_status_code() -> None:
    refused = errors.AgentRefused(409, "the job is another one")
    assert (refused.status_code, str(refused)) == (409, "the job is another one")
