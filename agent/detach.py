"""Starts an agent that outlives its caller, says where it answers, and stops it. Blocks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import httpx

from agent.fence import read_mark
from agent.log_window import read_end
from agent.process import ProcessIdentity, boot_id, is_alive, send_signal
from agent.run_directory import AgentRoot
from shared.errors import AgentUnreachable

START_TIMEOUT_S = 15.0
_POLL_S = 0.1
_ANSWER_TIMEOUT_S = 5.0
_LOG_TAIL_BYTES = 1000


def ensure_agent(root: AgentRoot, serve_arguments: Sequence[str]) -> str:
    """The content of `agent.json` of an agent that answers; starts one unless one does already.

    Raises:
        AgentUnreachable: none answered in time; the message shows the end of `agent.log`.
    """
    if (address := address_if_healthy(root)) is not None:
        return address
    root.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with root.log_path.open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "agent.cli", "serve", *serve_arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=root.path,
            start_new_session=True,
        )
    # Where two callers start one each, the lock leaves one; both then find it.
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if (address := address_if_healthy(root)) is not None:
            return address
        time.sleep(_POLL_S)
    tail = read_end(root.log_path, _LOG_TAIL_BYTES).strip()
    raise AgentUnreachable(
        f"{root.path}: no agent answered within {START_TIMEOUT_S:.0f} s; its log ends: {tail}"
    )


def stop_agent(root: AgentRoot) -> bool:
    """End the agent of this root, once it has closed its journals; False if none runs.

    Raises:
        AgentUnreachable: it has not ended in time.
    """
    try:
        content = root.address_path.read_text(encoding="utf-8")
        if not is_of_this_machine(root, content):
            return False
        address = json.loads(content)
        agent = ProcessIdentity(address["pid"], address["start_time"], boot_id())
    except (OSError, ValueError, KeyError):
        return False
    if not send_signal(agent, signal.SIGTERM):
        return False
    deadline = time.monotonic() + START_TIMEOUT_S
    while is_alive(agent):
        if time.monotonic() > deadline:
            raise AgentUnreachable(f"the agent (pid {agent.pid}) has not ended after SIGTERM.")
        time.sleep(_POLL_S)
    return True


def is_of_this_machine(root: AgentRoot, address: str) -> bool:
    """False for the `agent.json` that an earlier machine has left on the volume."""
    mark = read_mark(root.path)
    return mark is None or json.loads(address).get("rental", 0) == mark.rental


def address_if_healthy(root: AgentRoot) -> str | None:
    """The content of `agent.json` if the agent that wrote it answers now."""
    try:
        address = root.address_path.read_text(encoding="utf-8")
        if not is_of_this_machine(root, address):
            return None
        token = root.token_path.read_text(encoding="ascii")
        socket = json.loads(address)["socket"]
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=socket),
            headers={"Authorization": f"Bearer {token}"},
            timeout=_ANSWER_TIMEOUT_S,
        ) as client:
            answer = client.get("http://agent/health").raise_for_status().json()
            if answer["pid"] != json.loads(address)["pid"]:
                return None  # One that has just begun, and has not written its own address yet.
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        return None
    return address
