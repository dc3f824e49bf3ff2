"""Has the training stack export an adapter, in a process of its own.

The console never loads torch; the process runs where trainers of this machine run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import ProtocolError
from tui.services.trainer_module import trainer_module

_EXPORT_MODULE = "agent.trainer.adapters.export"
_NEEDED = ("torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported, from where to where; None is what the adapter or the machine says."""

    adapter: Path
    merged: Path
    base: str | None = None
    gguf: Path | None = None
    converter: Path | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """How the process ended; it has said on stderr why, where `result` is None."""

    exit_code: int
    result: dict[str, Any] | None


async def export_adapter(options: ExportOptions, agent_root: Path) -> Exported:
    """Run the export to its end; its progress goes to our stderr.

    Raises:
        InvalidInput: there is no training stack here.
    """
    command = [*export_command(agent_root / "trainer.json"), *_arguments(options, agent_root)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode is not None
    if process.returncode != 0:
        return Exported(process.returncode, None)
    return Exported(0, _read_result(output))


def export_command(trainer_file: Path) -> list[str]:
    """What starts the export: beside the trainer that `trainer.json` names, else our own Python.

    Raises:
        InvalidInput: that names no trainer of ours, or our Python has no training stack.
    """
    return trainer_module(trainer_file, _EXPORT_MODULE, needs=_NEEDED, what="Merging")


def _arguments(options: ExportOptions, agent_root: Path) -> Sequence[str]:
    optional = {"--base": options.base, "--gguf": options.gguf, "--converter": options.converter}
    return [
        str(options.adapter.expanduser()),
        *("--merged", str(options.merged.expanduser())),
        *("--models", str(agent_root / "models")),
        *(part for name, value in optional.items() if value for part in (name, str(value))),
    ]


def _read_result(output: bytes) -> dict[str, Any]:
    try:
        result = json.loads(output)
    except ValueError as error:
        raise ProtocolError("the export process printed no result") from error
    if not isinstance(result, dict):
        raise ProtocolError("the export process printed no result")
    return result
