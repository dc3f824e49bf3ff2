"""What is installed while the image is built, by the script that the Dockerfile runs, in a clean
environment; then the agent starts from it, with no package index in reach.

The agent's packages are the real ones. The training stack is one of next to nothing: the real one
takes gigabytes; it is installed by the same code.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.installation.trainer_stack import MODULES
from tests.remote.local_shell import LocalShell
from tests.remote.package_index import use_index, use_no_index, write_wheel
from tests.tui.services.remote.conftest import Machine
from tui.services.image_context import write_context
from tui.services.remote.bootstrap import Bootstrap
from tui.services.remote.payload import Payload, build_payload

pytestmark = pytest.mark.slow


@dataclass
class Image:
    """What would lie in /opt/brightrun of the image."""

    prefix: Path
    payload: Payload
    wheels: Path

    def run(self, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        """`brightrun-agent` of the image, as whoever logs in has it."""
        command = [str(self.prefix / "bin" / "brightrun-agent"), *arguments]
        return subprocess.run(
            command,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
        )


def write_tiny_stack(wheels: Path) -> str:
    """Pins that no package index has."""
    return "".join(write_wheel(wheels, module, "1.0+tiny") for module in MODULES)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    path = tmp_path_factory.mktemp("image")
    wheels, context, home = path / "wheels", path / "context", path / "home"
    payload = build_payload(trainer_pins=write_tiny_stack(wheels))
    write_context(context, payload)
    settings = home / ".config" / "pip"
    settings.mkdir(parents=True)
    (settings / "pip.conf").write_text(f"[global]\nfind-links = {wheels}\n")
    built = subprocess.run(
        ["sh", str(context / "image/environments.sh"), str(context / "code.zip"),
         str(path / "opt"), sys.executable],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd=path,
        capture_output=True,
        text=True,
        timeout=280,
    )  # fmt: skip
    if "index cannot be reached" in built.stdout:
        pytest.skip("needs a package index")
    assert (built.stderr, built.returncode) == ("", 0), built.stdout
    return Image(path / "opt", payload, wheels)


class Pod(Machine):
    """A machine with the image."""

    prefix: Path

    def bootstrap(self, payload: Payload | None = None) -> Bootstrap:
        return Bootstrap(self.shell, payload=payload or self.payload, prebuilt=str(self.prefix))


@pytest.fixture
def pod(image: Image, tmp_path: Path) -> Iterator[Pod]:
    python = Path(sys.executable).resolve().parent
    shell = LocalShell(tmp_path / "home", path=f"{python}:/usr/bin:/bin")
    shell.home.mkdir()
    use_no_index(shell.home)
    made = Pod(shell, image.payload)
    made.prefix = image.prefix
    yield made
    made.clean_up()


def trainer_of(pod: Pod) -> str:
    content = json.loads((pod.root / "trainer.json").read_text())
    return str(content["command"][0])


async def test_a_machine_with_the_image_installs_nothing_and_its_agent_answers(pod: Pod) -> None:
    began = time.monotonic()
    agent = await pod.ensure_agent()
    await pod.bootstrap().ensure_trainer(pod.steps.append)
    took_s = time.monotonic() - began

    assert agent.is_current and agent.python.startswith(f"{pod.prefix}/env/")
    assert trainer_of(pod).startswith(f"{pod.prefix}/trainer-env/")
    assert pod.steps == [
        "looking at what the machine has",
        "sending the agent",
        "using the agent's packages of the image",
        "starting the agent",
        "looking at what the machine has",
        "using the training stack of the image",
    ]
    assert not (pod.base / "env").exists() and not (pod.base / "trainer-env").exists()
    print(f"agent and trainer ready in {took_s:.1f} s")
    pod.steps.clear()
    await pod.ensure_agent()
    await pod.bootstrap().ensure_trainer(pod.steps.append)
    assert pod.steps == []


async def test_a_volume_that_comes_to_a_stock_image_gets_its_own_stack(
    pod: Pod, image: Image, tmp_path: Path
) -> None:
    await pod.bootstrap().ensure_trainer(pod.steps.append)
    use_index(pod.shell.home, image.wheels)
    pod.prefix = tmp_path / "no-such-image"
    pod.steps.clear()

    await pod.bootstrap().ensure_trainer(pod.steps.append)

    # The file names what the image had, which is not there any more.
    assert "installing the training stack (6 packages)" in pod.steps
    assert trainer_of(pod).startswith(f"{pod.base}/trainer-env/")


async def test_an_image_of_other_pins_is_no_image_at_all(
    pod: Pod, image: Image, tmp_path: Path
) -> None:
    use_index(pod.shell.home, image.wheels)
    pins = "".join(sorted(write_tiny_stack(image.wheels).splitlines(keepends=True)))
    await pod.bootstrap(build_payload(trainer_pins=pins)).ensure_trainer(pod.steps.append)
    assert "installing the training stack (6 packages)" in pod.steps


def test_the_images_own_command_runs_and_names_its_trainer(image: Image, tmp_path: Path) -> None:
    told = image.run("--version", home=tmp_path)
    assert (told.stderr, told.returncode) == ("", 0)
    assert told.stdout.startswith("brightrun-agent ")
    started = image.run("serve", "--root", str(tmp_path / "root"), "--detach", home=tmp_path)
    try:
        assert (started.stderr, started.returncode) == ("", 0)
        address = json.loads((tmp_path / "root" / "agent.json").read_text())
        command = Path(f"/proc/{address['pid']}/cmdline").read_bytes().decode()
        assert f"{image.prefix}/trainer-env/" in command
    finally:
        ended = image.run("stop", "--root", str(tmp_path / "root"), home=tmp_path)
    assert ended.stdout == "stopped.\n"


def test_everybody_may_read_it_and_nothing_was_left_behind(image: Image) -> None:
    files = [path for path in image.prefix.rglob("*") if not path.is_symlink()]
    assert all(path.stat().st_mode & 0o004 for path in files if "__pycache__" not in path.parts)
    assert not list(image.prefix.rglob("*.zip")) and not (image.prefix / "agent").exists()
    [code] = (image.prefix / "code").iterdir()
    assert code.name == "code" and (code / "agent" / "cli.py").exists()


def test_a_build_that_cannot_install_fails(image: Image, tmp_path: Path) -> None:
    use_no_index(tmp_path)
    write_context(tmp_path / "context", image.payload)
    script, code = tmp_path / "context/image/environments.sh", tmp_path / "context/code.zip"
    built = subprocess.run(
        ["sh", str(script), str(code), str(tmp_path / "opt"), sys.executable],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode != 0
    assert "the package index cannot be reached from there" in built.stdout
