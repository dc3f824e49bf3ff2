"""What the installation says while it works: one JSON object a line, on stdout.

The console reads them through SSH; anything else on that stream is noise of the machine.
"""

from __future__ import annotations

import json
import os
import sys

MARK = "brightrun"


def step(text: str) -> None:
    """What is being done now, for a person."""
    _say({MARK: "step", "text": text})


def result(**values: object) -> None:
    """How it ended well."""
    _say({MARK: "result", **values})


def failed(kind: str, message: str) -> None:
    """How it ended badly: the name of an error of `shared.errors`, and its message."""
    _say({MARK: "failed", "kind": kind, "message": message})


def _say(record: dict[str, object]) -> None:
    try:
        print(json.dumps(record), flush=True)
    except BrokenPipeError:
        # The console is gone; what was begun is worth finishing, since it will come back.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
