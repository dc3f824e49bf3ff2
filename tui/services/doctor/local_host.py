"""What a job on this machine needs: the agent's packages, the training stack, a GPU, room."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from shared.errors import AgentUnreachable
from shared.number_text import many
from tui.config import Config
from tui.services.doctor import answers
from tui.services.doctor.checks import Check, Outcome, failure, ok, warning
from tui.services.hosts.local import LocalHost

_AGENT_MODULES = ("fastapi", "uvicorn")
_TRAINER_MODULES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
_ANSWER_TIMEOUT_S = 30.0
_ELSEWHERE = "or train elsewhere: brightrun doctor --host ssh:NAME"


@dataclass(slots=True)
class ThisMachine:
    """This computer as a host."""

    config: Config
    answers: answers.Answers | None = None


async def look_at_agent(this: ThisMachine) -> Outcome:
    """Whether the agent is installed, and which one runs."""
    if missing := _missing(_AGENT_MODULES):
        return failure(
            f"its packages are missing: {', '.join(missing)}",
            f"pip install 'brightrun[agent,trainer]', {_ELSEWHERE}",
        )
    installed = metadata.version("brightrun")
    try:
        async with LocalHost(this.config.agent_root).client() as client:
            health = await client.health()
    except AgentUnreachable:
        return ok(f"{installed} installed; none runs, the first job starts it")
    found = f"{health.version} runs (pid {health.pid}), {many(len(health.running), 'job')} at work"
    if health.version != installed:
        return warning(
            f"{found}; {installed} is installed",
            f"brightrun-agent stop --root {this.config.agent_root}; its trainers go on.",
        )
    return ok(found)


async def look_at_trainer(this: ThisMachine) -> Outcome:
    """Whether there is something to train with."""
    own = this.config.agent_root / "trainer.json"
    if own.exists():
        try:
            command = " ".join(map(str, json.loads(own.read_bytes())["command"]))
        except (OSError, ValueError, KeyError, TypeError):
            return failure(f"{own} makes no sense", "Correct it or remove it.")
        return ok(f"your own: {command}")
    if missing := _missing(_TRAINER_MODULES):
        return failure(
            f"missing: {', '.join(missing)}", f"pip install 'brightrun[trainer]', {_ELSEWHERE}"
        )
    return ok(f"torch {metadata.version('torch')}, transformers, peft, trl")


async def look_at_facts(this: ThisMachine) -> Outcome:
    """Ask this machine about itself in a process of its own, since drivers may hang."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-", str(this.config.agent_root.parent)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            output, _ = await process.communicate(answers.program().encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    this.answers = answers.read_answers(output.decode("utf-8", "replace"))
    return ok(f"{platform.system()} {platform.machine()}, {many(os.cpu_count() or 1, 'processor')}")


async def look_at_disk(this: ThisMachine) -> Outcome:
    return answers.disk(_known(this))


async def look_at_memory(this: ThisMachine) -> Outcome:
    return answers.memory(_known(this))


async def look_at_gpu(this: ThisMachine) -> Outcome:
    return answers.gpu(_known(this))


def _known(this: ThisMachine) -> answers.Answers:
    assert this.answers is not None, "the check that asks comes first"
    return this.answers


def _missing(modules: Iterable[str]) -> list[str]:
    return [name for name in modules if importlib.util.find_spec(name) is None]


LOCAL_CHECKS = (
    Check("agent", look_at_agent),
    Check("machine", look_at_facts),
    Check("disk", look_at_disk, needs=("machine",)),
    Check("memory", look_at_memory, needs=("machine",)),
    Check("GPU", look_at_gpu, needs=("machine",)),
    Check("training stack", look_at_trainer),
)
