"""Puts the agent and the training stack on a bare machine, and keeps them current.

It sends our own code and runs `agent.installation` from it; what happens there stands in that
package. It knows nothing of SSH: a `RemoteShell` is all that it needs.
"""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from contextlib import aclosing

from shared.agent_protocol import PROTOCOL_VERSION
from shared.errors import (
    AgentOutdated,
    AgentUnreachable,
    InstallationFailed,
    InvalidInput,
    RemoteScriptFailed,
)
from shared.pip_wheels import own_pip_wheels
from shared.pod_start import PREBUILT
from tui.config import DEFAULT_REMOTE_BASE
from tui.services.hosts.host import Step
from tui.services.remote.payload import Payload, build_payload
from tui.services.remote.probe import (
    new_sentinel,
    read_state,
    read_tools,
    state_script,
    tools_script,
)
from tui.services.remote.report import Report, Result
from tui.services.remote.state import RemoteState, RemoteTools, RunningAgent
from tui.services.ssh.shell import RemoteShell

_INSTALL_TIMEOUT_S = 3600.0
"""The training stack is gigabytes, and the line to the index may be slow."""
_TOOLS_TIMEOUT_S = 120.0


class Bootstrap:
    """The installation under one directory of one machine."""

    def __init__(
        self,
        shell: RemoteShell,
        base: str = DEFAULT_REMOTE_BASE,
        payload: Payload | None = None,
        prebuilt: str = PREBUILT,
    ) -> None:
        self._shell = shell
        self._base = base
        self._payload = payload
        self._prebuilt = prebuilt

    async def look(self) -> RemoteState:
        """What is there, in one round trip; enough to connect if an agent runs.

        Raises:
            AgentUnreachable: the connection is lost.
            ProtocolError: the machine's shell does not answer as one.
        """
        payload = await self._own_code()
        sentinel = new_sentinel()
        finished = await self._shell.run(state_script(self._base, sentinel, self._prebuilt))
        return read_state(
            finished.stdout,
            sentinel,
            code_hash=payload.key,
            protocol=PROTOCOL_VERSION,
            prebuilt=self._prebuilt,
        )

    async def tools(self, base: str) -> RemoteTools:
        """What an installation can use there; takes a second or two."""
        sentinel = new_sentinel()
        script = tools_script(base, sentinel)
        finished = await self._shell.run(script, timeout_s=_TOOLS_TIMEOUT_S)
        return read_tools(finished.stdout, sentinel)

    async def ensure_agent(self, on_step: Step) -> RunningAgent:
        """An agent that answers there; one of another version is replaced unless it has a job.

        Doing it again changes nothing. Killed at any moment, the next call completes it.

        Raises:
            InvalidInput: no Python, no space, ...; the message says what helps.
            InstallationFailed: the packages cannot be installed, or the agent does not start.
            AgentOutdated: one that we cannot speak with has a job, and goes on with it.
            AgentUnreachable: the connection is lost; what was begun there is finished there.
            ProtocolError: the machine does not answer as it should.
        """
        state = await self.look()
        if state.agent is not None and state.agent.is_current:
            return state.agent
        result = await self._install("agent", state, on_step)
        # Between the two looks the agent may have been replaced by somebody else's console.
        agent = (await self.look()).agent
        if agent is None:
            raise AgentUnreachable("the agent was started there, but is gone again; try again.")
        if result.busy and agent.protocol != PROTOCOL_VERSION:
            raise AgentOutdated(agent.version, agent.protocol, result.busy)
        return agent

    async def ensure_trainer(self, on_step: Step) -> None:
        """A training stack on that machine, made once; a `trainer.json` of the user's own stays.

        Raises:
            InvalidInput, InstallationFailed, AgentUnreachable, ProtocolError: as `ensure_agent`.
        """
        state = await self.look()
        if await self._has_trainer(state):
            return
        await self._install("trainer", state, on_step)

    async def own_code(self, on_step: Step) -> str:
        """What PYTHONPATH needs there to run this console's own version of our code; sent if it is
        not there yet.

        Raises:
            AgentUnreachable: the connection is lost.
        """
        state, payload = await self.look(), await self._own_code()
        code = f"{state.base}/code/{payload.key}"
        if payload.key in state.codes:
            return code
        on_step("sending our code")
        # An archive from which Python imports; the next installation unpacks it.
        await self._shell.put(await asyncio.to_thread(payload.archive), f"{code}.zip")
        return f"{code}.zip"

    async def _has_trainer(self, state: RemoteState) -> bool:
        if state.trainer is None:
            # An agent that its owner installed has the Python that it trains with.
            ours = f"{state.base}/code/"
            agent = state.agent
            return agent is not None and agent.code != "" and not agent.code.startswith(ours)
        if state.trainer.key is None:
            return True
        key = _trainer_key(await self._own_code())
        return state.trainer.key == key and state.has_named_trainer

    async def _install(self, what: str, state: RemoteState, on_step: Step) -> Result:
        if state.system != "Linux":
            raise InvalidInput(
                f"the machine runs {state.system or 'an unknown system'}; the agent needs Linux."
            )
        on_step("looking at what the machine has")
        tools = await self.tools(state.base)
        if not tools.usable:
            raise InvalidInput(_no_python(tools))
        payload = await self._own_code()
        code = f"{state.base}/code/{payload.key}"
        if payload.key not in state.codes:
            on_step("sending the agent")
            archive = await asyncio.to_thread(payload.archive)
            await self._shell.put(archive, f"{code}.zip")
            code += ".zip"
        arguments = [tools.usable[0].path, "-P", "-m", "agent.installation", what]
        arguments += ["--base", state.base, "--code", payload.key]
        arguments += ["--prebuilt", self._prebuilt]
        if tools.uv is not None:
            arguments += ["--uv", tools.uv]
        if not tools.usable[0].has_ensurepip:
            arguments += await self._send_pip(state.base)
        for python in tools.usable:
            arguments += ["--python", python.path]
        return await self._run(shlex.join(arguments), code, on_step)

    async def _send_pip(self, base: str) -> list[str]:
        """Arguments that name a pip of this machine, for one whose Python has none."""
        wheels = await asyncio.to_thread(own_pip_wheels)
        if not wheels:
            return []
        path = f"{base}/pip/{wheels[0].name}"
        await self._shell.put(wheels[0], path)
        return ["--pip", path]

    async def _run(self, command: str, code: str, on_step: Step) -> Result:
        report = Report()
        # Its own words say how it ended; the script's status would say less.
        script = f"PYTHONPATH={shlex.quote(code)} {command} </dev/null 2>&1\nexit 0\n"
        try:
            async with aclosing(self._shell.lines(script, timeout_s=_INSTALL_TIMEOUT_S)) as lines:
                async for line in lines:
                    if (step := report.read(line)) is not None:
                        on_step(step.text)
        except RemoteScriptFailed as error:
            raise InstallationFailed(
                f"the installation there was ended from outside (status {error.exit_status}); "
                "try again: it goes on from what is complete."
            ) from error
        return report.close()

    async def _own_code(self) -> Payload:
        if self._payload is None:
            self._payload = await asyncio.to_thread(build_payload)
        return self._payload


def _trainer_key(payload: Payload) -> str:
    """As `agent.installation.environment.digest` names the pins of the trainer."""
    (pins,) = (text for name, text in payload.files.items() if name.endswith("trainer-pins.txt"))
    return hashlib.sha256(pins).hexdigest()[:12]


def _no_python(tools: RemoteTools) -> str:
    return (
        "the machine has no Python 3.11 or newer that can make a virtual environment "
        f"({tools.describe_pythons()}); on Debian or Ubuntu: apt-get install python3 python3-venv; "
        "with uv: uv python install 3.12."
    )
