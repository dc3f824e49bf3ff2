"""Installs on the machine on which it runs, as the console asks; run through SSH.

    PYTHONPATH=BASE/code/HASH.zip python -P -m agent.installation agent|trainer --base BASE ...

`image` makes both environments and starts nothing: it runs while an image is built, and a machine
with that image then finds in `--prebuilt` what it would have to install.

It runs from the archive that was just sent, in the machine's own Python and with nothing but the
standard library. It may be killed at any moment: the next one completes what it began.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from agent.installation.agent_process import (
    LivingAgent,
    find_agent,
    start_agent,
    stop_agent,
    unfinished_jobs,
    write_starter,
)
from agent.installation.base import Base, read_pins
from agent.installation.environment import (
    Recipe,
    digest,
    ensure_environment,
    ready_environment,
    unpack_pip,
)
from agent.installation.packages import Installers, fingerprint
from agent.installation.pruning import prune
from agent.installation.report import failed, result, step
from agent.installation.trainer_stack import ensure_trainer, prebuild_trainer
from shared.errors import BrightRunError, InstallationFailed
from shared.pip_wheels import own_pip_wheels
from shared.pod_start import PREBUILT

_AGENT_BYTES = 150_000_000
_AGENT_MODULES = ("fastapi", "uvicorn", "httpx", "pydantic", "websockets", "typer", "platformdirs")


def main() -> None:
    """Do what was asked; the last line of the report says how it ended, and so does the status."""
    # The console may go away: what was begun is finished, and found by the next one.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    asked = _parse(sys.argv[1:])
    # Nothing in an image is secret, and whoever runs it may not be root.
    os.umask(0o022 if asked.what == "image" else 0o077)
    base = Base(Path(asked.base))
    try:
        with base.locked() as lock:
            if asked.what == "agent":
                _install_agent(base, asked, lock)
            elif asked.what == "image":
                _install_image(base, asked, lock)
            else:
                _install_trainer(base, asked, lock)
    except BrightRunError as error:
        failed(type(error).__name__, str(error))
        sys.exit(1)
    except OSError as error:
        failed(InstallationFailed.__name__, f"{error.filename or base.path}: {error.strerror}.")
        sys.exit(1)


def _install_agent(base: Base, asked: argparse.Namespace, lock: int) -> None:
    code = base.code(asked.code)
    running = find_agent(base.root)
    if running is not None and running.code == str(code):
        result(busy=[])
        return
    busy = unfinished_jobs(base.root, running)
    if running is not None and busy:
        result(busy=busy)
        return
    code = base.unpack(asked.code)
    recipe = _agent_recipe(base, code)
    python = ready_environment(_prebuilt(asked).environments / recipe.directory.name)
    if python is not None:
        step("using the agent's packages of the image")
    else:
        python = ensure_environment(recipe, _installers(base, asked, lock))
    _replace(base, running, python, code)
    if not unfinished_jobs(base.root, None):
        prune(base, [code, recipe.directory])
    result(busy=[])


def _agent_recipe(base: Base, code: Path) -> Recipe:
    pins = read_pins(code, "agent")
    return Recipe(
        directory=base.environments / digest(pins, fingerprint()),
        pins=pins,
        modules=_AGENT_MODULES,
        title="the agent's packages",
        needed_bytes=_AGENT_BYTES,
    )


def _replace(base: Base, running: LivingAgent | None, python: Path, code: Path) -> None:
    # First, so that what is started meanwhile is not the agent that is stopped here.
    write_starter(base.root, python, code)
    if running is not None:
        step("stopping the agent of another version")
        stop_agent(base.root, python, code)
    step("starting the agent")
    start_agent(base.root, python, code)
    base.point_current(code)


def _install_trainer(base: Base, asked: argparse.Namespace, lock: int) -> None:
    code = base.unpack(asked.code)
    ensure_trainer(
        base,
        read_pins(code, "trainer"),
        asked.python or [sys.executable],
        _installers(base, asked, lock),
        has_gpu=Path("/dev/nvidiactl").exists(),
        prebuilt=_prebuilt(asked),
    )
    result()


def _install_image(base: Base, asked: argparse.Namespace, lock: int) -> None:
    code = base.unpack(asked.code)
    installers = _installers(base, asked, lock)
    ensure_environment(_agent_recipe(base, code), installers)
    prebuild_trainer(base, read_pins(code, "trainer"), sys.executable, installers)
    base.point_current(code)
    result()


def _prebuilt(asked: argparse.Namespace) -> Base:
    return Base(Path(asked.prebuilt))


def _installers(base: Base, asked: argparse.Namespace, lock: int) -> Installers:
    wheels = [*own_pip_wheels(), *([Path(asked.pip)] if asked.pip else [])]
    return Installers(unpack_pip(base.pips, wheels), asked.uv, lock)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agent.installation")
    parser.add_argument("what", choices=("agent", "trainer", "image"))
    parser.add_argument("--base", required=True)
    parser.add_argument("--code", required=True, help="hash of the code that was sent")
    parser.add_argument("--pip", help="a wheel of pip, for a Python that has none")
    parser.add_argument("--uv", help="path of uv, if it is there")
    parser.add_argument("--prebuilt", default=PREBUILT, help="what the machine's image has ready")
    parser.add_argument("--python", action="append", help="interpreters that may have a torch")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
