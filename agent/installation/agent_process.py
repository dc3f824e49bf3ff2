"""The agent of a root as the installation sees it: is it there, is it at work, stop it, start it.

Standard library only: it runs before any package is installed.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.fence import read_mark
from agent.process import ProcessIdentity, boot_id, is_alive
from shared.clean_text import clean_line
from shared.errors import InstallationFailed
from shared.pod_start import START_AGENT_FILE

_STARTER = """unset PYTHONHOME RUNPOD_API_KEY
cd "$code" || exit 1
PYTHONPATH=$code exec "$python" -P -m agent.cli serve --root "$root" --detach
"""
_ANSWER_TIMEOUT_S = 10.0
_COMMAND_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class LivingAgent:
    """An agent whose process runs."""

    root: Path
    socket: str
    code: str
    """Directory of its code; empty if it does not say."""


def find_agent(root: Path) -> LivingAgent | None:
    """The agent that wrote `agent.json`, if it lives."""
    address = _read_json(root / "agent.json")
    mark = read_mark(root)
    if mark is not None and address.get("rental", 0) != mark.rental:
        # An earlier machine has left it on the volume.
        return None
    try:
        identity = ProcessIdentity(address["pid"], address["start_time"], boot_id())
        if not is_alive(identity):
            return None
        return LivingAgent(root, str(address["socket"]), str(address.get("code", "")))
    except (KeyError, TypeError):
        return None


def unfinished_jobs(root: Path, agent: LivingAgent | None) -> tuple[str, ...]:
    """Jobs that are not final as far as the agent says, and those whose trainer lives."""
    told = () if agent is None else _ask(agent)
    return tuple(sorted({*told, *_jobs_with_a_trainer(root)}))


def start_agent(root: Path, python: Path, code: Path) -> None:
    """Start an agent that outlives us; returns once it answers.

    Raises:
        InstallationFailed: it does not.
    """
    _agent_command(python, code, "serve", "--root", str(root), "--detach")


def write_starter(root: Path, python: Path, code: Path) -> None:
    """`start-agent`: what the start command of a rented machine runs where no agent does.

    Nothing where the machine is not rented.
    """
    if read_mark(root) is None:
        return
    values = {"code": str(code), "python": str(python), "root": str(root)}
    settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    path = root / START_AGENT_FILE
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(f"#!/bin/sh\n{settings}{_STARTER}", encoding="utf-8")
    partial.chmod(0o700)
    os.replace(partial, path)


def stop_agent(root: Path, python: Path, code: Path) -> None:
    """End the root's agent once it has closed its journals; trainers live on."""
    _agent_command(python, code, "stop", "--root", str(root))


def agent_environment(code: Path) -> dict[str, str]:
    """Our environment, with our code and nobody else's on the path."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    return {**ours, "PYTHONPATH": str(code)}


def _agent_command(python: Path, code: Path, *arguments: str) -> None:
    try:
        ended = subprocess.run(
            [str(python), "-P", "-m", "agent.cli", *arguments],
            env=agent_environment(code),
            cwd=code,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallationFailed(
            f"`brightrun-agent {arguments[0]}` has not ended within {_COMMAND_TIMEOUT_S:.0f} s "
            "there; try again."
        ) from error
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines()
        raise InstallationFailed(
            f"the agent is installed there, but `{arguments[0]}` failed: "
            f"{clean_line(lines[-1]) if lines else f'exit code {ended.returncode}'}"
        )


def _ask(agent: LivingAgent) -> tuple[str, ...]:
    """What the agent says of its jobs; nothing if it does not answer or says it otherwise."""
    connection = _UnixConnection(agent.socket)
    try:
        token = (agent.root / "agent.token").read_text(encoding="ascii").strip()
        connection.request("GET", "/health", headers={"Authorization": f"Bearer {token}"})
        running = json.loads(connection.getresponse().read())["running"]
        return tuple(str(job_id) for job_id in running)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ()
    finally:
        connection.close()


def _jobs_with_a_trainer(root: Path) -> list[str]:
    found = []
    for path in root.glob("jobs/*/attempts/*/shim.json"):
        record = _read_json(path)
        if _lives(record, "trainer") or _lives(record, "shim"):
            found.append(path.parents[2].name)
    return found


def _lives(record: Mapping[str, Any], who: str) -> bool:
    try:
        pid, start_time = record[f"{who}_pid"], record[f"{who}_start_time"]
        return is_alive(ProcessIdentity(pid, start_time, record["boot_id"]))
    except KeyError:
        return False


def _read_json(path: Path) -> dict[str, Any]:
    """Empty if there is no such file, or if it is not an object."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("agent", timeout=_ANSWER_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER_TIMEOUT_S)
        self.sock.connect(self._path)
