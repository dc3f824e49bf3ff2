"""What starts a module of the training stack on this machine; the console never loads torch."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput

_TRAINER_MODULE = "agent.trainer"


def trainer_module(
    trainer_file: Path, module: str, *, needs: Sequence[str], what: str
) -> list[str]:
    """The command: beside the trainer that `trainer.json` names, else our own Python.

    `needs` is what our own Python must be able to import for it; `what` says what it is for.

    Raises:
        InvalidInput: the file names no trainer of ours, or our Python has no training stack.
    """
    try:
        named: Any = json.loads(trainer_file.read_bytes())["command"]
    except FileNotFoundError:
        if not all(importlib.util.find_spec(name) for name in needs):
            raise InvalidInput(
                f"{what} needs the training stack, which is not installed here: "
                "pip install 'brightrun[trainer]'."
            ) from None
        return [sys.executable, "-P", "-m", module]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{trainer_file}: makes no sense; correct or remove it.") from error
    if not isinstance(named, list):
        named = []
    return beside_trainer([str(part) for part in named], module, str(trainer_file))


def beside_trainer(command: Sequence[str], module: str, source: str) -> list[str]:
    """The same interpreter with another module; `source` is where the command stands.

    Raises:
        InvalidInput: it is no command of ours.
    """
    if not command or command[-1] != _TRAINER_MODULE:
        raise InvalidInput(
            f"{source}: its command does not end in {_TRAINER_MODULE}, so there is no telling "
            f"what would run {module} with that stack."
        )
    return [*command[:-1], module]
