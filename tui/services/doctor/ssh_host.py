"""What a job needs on a machine that SSH reaches, from its shell to the GPU; installs nothing."""

from __future__ import annotations

import shlex
import time
from contextlib import aclosing

from shared.agent_protocol import PROTOCOL_VERSION
from shared.clean_text import clean_line
from shared.errors import AgentError, HostUnreachable
from tui.services.doctor import answers
from tui.services.doctor.checks import Check, Outcome, failure, ok, warning
from tui.services.doctor.ssh_road import ROAD_CHECKS, Road
from tui.services.remote.bootstrap import Bootstrap
from tui.services.remote.state import RemoteState
from tui.services.ssh.failures import translated

_ANSWER_TIMEOUT_S = 45.0
_END_OF_PROGRAM = "END_OF_BRIGHTRUN_PROGRAM"

_LISTEN = """
import socket, tempfile
with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
    listener.bind(directory + "/socket")
    listener.listen()
    listener.settimeout(0.2)
    print("\\nlistening:" + directory + "/socket", flush=True)
    for _ in range(50):
        try:
            listener.accept()
            break
        except TimeoutError:
            print(flush=True)  # fails, and so ends this, once nobody reads it any more
"""
"""A socket for the time of one check, where no agent runs that one could try to reach."""


async def look_at_shell(road: Road) -> Outcome:
    """Whether a POSIX shell answers there, on a system that the agent knows."""
    road.state = await Bootstrap(road.shell, road.base).look()
    system = clean_line(road.state.system) or "an unknown system"
    if system != "Linux":
        return failure(system, "The agent needs Linux.")
    return ok(f"{system}; ours goes into {road.state.base}")


async def look_at_python(road: Road) -> Outcome:
    """Whether there is a Python that makes virtual environments."""
    state = _state(road)
    road.tools = await Bootstrap(road.shell, road.base).tools(state.base)
    if not road.tools.usable:
        return failure(
            f"none from 3.11 on with venv: {road.tools.describe_pythons()}",
            "On Debian or Ubuntu: apt-get install python3 python3-venv; with uv: "
            "uv python install 3.12",
        )
    best = road.tools.usable[0]
    version = ".".join(map(str, best.version))
    pip = "pip" if best.has_ensurepip else "pip sent from here"
    return ok(f"{version} ({best.path}), packages by {'uv' if road.tools.uv else pip}")


async def look_at_machine(road: Road) -> Outcome:
    """Ask the machine about itself."""
    arguments = shlex.join([road.python, "-", _state(road).base, "--index"])
    script = f"{arguments} <<'{_END_OF_PROGRAM}'\n{answers.program()}\n{_END_OF_PROGRAM}\n"
    road.asked_at = time.time()
    done = await road.shell.run(script, timeout_s=_ANSWER_TIMEOUT_S)
    road.answered_at = time.time()
    road.answers = answers.read_answers(done.stdout or done.stderr)
    return ok(f"answers in {road.answered_at - road.asked_at:.1f} s")


async def look_at_disk(road: Road) -> Outcome:
    return answers.disk(_answers(road))


async def look_at_memory(road: Road) -> Outcome:
    return answers.memory(_answers(road))


async def look_at_gpu(road: Road) -> Outcome:
    return answers.gpu(_answers(road))


async def look_at_clock(road: Road) -> Outcome:
    return answers.clock(_answers(road), road.asked_at, road.answered_at)


async def look_at_package_index(road: Road) -> Outcome:
    state = _state(road)
    is_installed = bool(state.environments) and state.trainer is not None
    return answers.package_index(_answers(road), is_installed=is_installed)


async def look_at_agent(road: Road) -> Outcome:
    """Whether it is installed, and which one runs; none of it has to be there yet."""
    state = _state(road)
    agent = state.agent
    if agent is None and state.environments:
        return ok("installed; none runs, the next job starts it")
    if agent is None:
        return ok("not installed yet; the first job does it, in about a minute")
    found = f"{agent.version} runs (pid {agent.pid})"
    if agent.protocol != PROTOCOL_VERSION:
        return warning(
            f"{found}, and speaks protocol {agent.protocol}, this console {PROTOCOL_VERSION}",
            "The next job replaces it once its own jobs have ended.",
        )
    return ok(found if agent.is_current else f"{found}; replaced when it has nothing to do")


async def look_at_way(road: Road) -> Outcome:
    """Whether sshd carries us to the agent's socket, or a program there has to."""
    agent = _state(road).agent
    refusal = await (_refusal(road, agent.socket) if agent else _refusal_of_a_new_socket(road))
    if refusal is None:
        return ok("sshd forwards to its socket")
    return warning(
        f"sshd does not forward to its socket ({refusal}); a program there relays instead",
        "For less load: AllowStreamLocalForwarding yes in its sshd_config.",
    )


async def _refusal(road: Road, path: str) -> str | None:
    """Why sshd does not carry us to that socket; None if it does."""
    assert road.connection is not None, "the check for the login comes first"
    try:
        with translated(road.name):
            _, writer = await road.connection.open_unix_connection(path)
    except AgentError as error:
        return clean_line(str(error))
    writer.close()
    return None


async def _refusal_of_a_new_socket(road: Road) -> str | None:
    python = shlex.quote(road.python)
    script = f"{python} - <<'{_END_OF_PROGRAM}'\n{_LISTEN}\n{_END_OF_PROGRAM}\n"
    async with aclosing(road.shell.lines(script, timeout_s=_ANSWER_TIMEOUT_S)) as lines:
        async for line in lines:
            mark, _, path = line.partition("listening:")
            if path and not mark:
                return await _refusal(road, path)
    raise HostUnreachable(f"{road.name}: no socket could be made there to try it.")


async def look_at_trainer(road: Road) -> Outcome:
    """Whether there is something to train with; it does not have to be there yet."""
    state = _state(road)
    if state.trainer is None:
        return ok("not installed yet; the first job does it, which takes minutes")
    if state.trainer.key is None:
        return ok(f"your own: {' '.join(state.trainer.command)}")
    if state.has_named_trainer:
        return ok("installed")
    return ok("installed in part; the next job completes it")


def _state(road: Road) -> RemoteState:
    assert road.state is not None, "the check for the shell comes first"
    return road.state


def _answers(road: Road) -> answers.Answers:
    assert road.answers is not None, "the check that asks comes first"
    return road.answers


SSH_CHECKS = (
    *ROAD_CHECKS,
    Check("shell", look_at_shell, needs=("login",)),
    Check("Python", look_at_python, needs=("shell",), timeout_s=150.0),
    Check("machine", look_at_machine, needs=("Python",)),
    Check("disk", look_at_disk, needs=("machine",)),
    Check("memory", look_at_memory, needs=("machine",)),
    Check("GPU", look_at_gpu, needs=("machine",)),
    Check("clock", look_at_clock, needs=("machine",)),
    Check("package index", look_at_package_index, needs=("machine",)),
    Check("agent", look_at_agent, needs=("shell",)),
    Check("way to the agent", look_at_way, needs=("Python",)),
    Check("training stack", look_at_trainer, needs=("shell",)),
)
