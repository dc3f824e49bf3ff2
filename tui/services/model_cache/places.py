"""Machines that keep base models: where the trainer's own command runs, and its lines come from."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.errors import RemoteScriptFailed
from shared.model_cache import EXIT_DONE, EXIT_FAILED, CacheRecord
from tui.services.hosts.host import Step, in_silence
from tui.services.hosts.names import LOCAL
from tui.services.model_cache.records import CacheReport
from tui.services.trainer_module import beside_trainer, trainer_module

if TYPE_CHECKING:
    from tui.services.hosts.ssh import SshHost
    from tui.services.remote.state import RemoteState

_MODULE = "agent.trainer.model_cache"
_STACK = ("torch", "transformers", "bitsandbytes")
_FILL_TIMEOUT_S = 24 * 3600.0
_LINE_BYTES = 1 << 20


class CachePlace(Protocol):
    """One directory of base models, and what may work on it."""

    @property
    def name(self) -> str:
        """For people: `local`, `ssh:NAME`, a volume."""
        ...

    async def prepare(self, on_step: Step = in_silence, *, for_filling: bool = False) -> bool:
        """Have there what is needed; False where nothing of ours is there, and so no model.

        Raises:
            InvalidInput: there is no training stack, and none can be made.
            AgentError: the machine cannot be reached, or the installation failed.
        """
        ...

    def run(self, command: str, arguments: Sequence[str]) -> AsyncGenerator[CacheRecord]:
        """Its records as they come; ends when the command has ended well.

        Left early, the command is ended; what is complete on the disk stays.

        Raises:
            ModelCacheError, InvalidBaseModel, InvalidInput: as `CacheReport.close`.
            AgentUnreachable: the connection is lost; the same command goes on where it stopped.
        """
        ...


class LocalCache:
    """This machine's, in a process of the training stack."""

    name = LOCAL

    def __init__(self, agent_root: Path) -> None:
        self._root = agent_root

    async def prepare(self, on_step: Step = in_silence, *, for_filling: bool = False) -> bool:
        self._command(for_filling)
        return True

    async def run(self, command: str, arguments: Sequence[str]) -> AsyncGenerator[CacheRecord]:
        process = await asyncio.create_subprocess_exec(
            *(*self._command(command == "fill"), command),
            *("--models", str(self._root / "models"), "--json", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_BYTES,
        )
        report = CacheReport(self.name)
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                if (record := report.read(line.decode("utf-8", "replace"))) is not None:
                    yield record
            report.close(await process.wait())
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()

    def _command(self, needs_stack: bool) -> list[str]:
        return trainer_module(
            self._root / "trainer.json",
            _MODULE,
            needs=_STACK if needs_stack else (),
            what="Filling the cache of base models",
        )


class SshCache:
    """That of a machine that SSH reaches, in the environment in which its trainers run.

    The command there ends with the connection, at its next word; filling goes on where it stopped.
    """

    def __init__(
        self,
        name: str,
        host: SshHost,
        *,
        models: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`models` is the directory; None: where the agent there keeps them."""
        self.name = name
        self._host = host
        self._models = models
        self._environment = dict(environment or {})
        self._start: list[str] = []

    async def prepare(self, on_step: Step = in_silence, *, for_filling: bool = False) -> bool:
        bootstrap = self._host.bootstrap
        if for_filling:
            await bootstrap.ensure_trainer(on_step)
        state = await bootstrap.look()
        if state.trainer is not None and (state.trainer.key is None or state.has_named_trainer):
            where = f"{self.name}: {state.base}/agent/trainer.json"
            command = beside_trainer(state.trainer.command, _MODULE, where)
        elif python := _some_python(state):
            command = [python, "-P", "-m", _MODULE]
        else:
            return False
        # Ours, and not what an earlier version has left there: its cache may speak otherwise.
        self._environment["PYTHONPATH"] = await bootstrap.own_code(on_step)
        self._models = self._models or f"{state.base}/agent/models"
        self._start = command
        return True

    async def run(self, command: str, arguments: Sequence[str]) -> AsyncGenerator[CacheRecord]:
        assert self._models is not None, "it was prepared"
        values = [f"{name}={value}" for name, value in sorted(self._environment.items())]
        words = ["env", *values, *self._start, command, "--models", self._models, "--json"]
        script = f"{shlex.join([*words, *arguments])} 2>&1\n"
        report = CacheReport(self.name)
        status = EXIT_DONE
        try:
            timeout_s = _FILL_TIMEOUT_S if command == "fill" else 600.0
            lines = self._host.shell.lines(script, timeout_s=timeout_s)
            async with aclosing(lines):
                async for line in lines:
                    if (record := report.read(line)) is not None:
                        yield record
        except RemoteScriptFailed as error:
            status = error.exit_status or EXIT_FAILED
        report.close(status)


def _some_python(state: RemoteState) -> str:
    """Of any environment of ours there: all but filling need no training stack; "" if there is
    none."""
    if state.agent is not None and state.agent.python:
        return state.agent.python
    found = [f"env/{key}" for key in state.environments]
    found += [f"trainer-env/{key}" for key in state.trainer_environments]
    return f"{state.base}/{min(found)}/bin/python" if found else ""
