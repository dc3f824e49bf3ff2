from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from agent.installation.base import Base
from agent.installation.environment import unpack_pip
from agent.installation.packages import Installers
from agent.installation.trainer_stack import (
    MODULES,
    ImageTorch,
    around,
    ensure_trainer,
    prebuild_trainer,
    read_probe,
)
from shared.pip_wheels import own_pip_wheels
from tests.remote.package_index import use_index, write_stack, write_wheel

CUDA_TORCH = """
__version__ = "2.9.1+cu128"
class version:
    cuda = "12.8"
class cuda:
    def is_available():
        print("a line that is not asked for")
        return True
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    use_index(tmp_path / "home", tmp_path / "wheels")
    return Base(tmp_path / "base")


@pytest.fixture
def installers(tmp_path: Path) -> Installers:
    return Installers(unpack_pip(tmp_path / "pip", own_pip_wheels()))


def trainer_file(base: Base) -> dict[str, object]:
    content: dict[str, object] = json.loads(base.trainer_file.read_text())
    return content


def origin_of(base: Base, module: str) -> str:
    """Where the trainer's Python finds the module."""
    (python, *_) = trainer_file(base)["command"]  # type: ignore[misc]
    command = [python, "-P", "-c", f"import {module}; print({module}.__file__)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_stack_that_the_image_has_brought_is_named_and_nothing_installed(
    base: Base, installers: Installers, tmp_path: Path
) -> None:
    pins = write_stack(tmp_path / "wheels", MODULES)
    image = Base(tmp_path / "image")
    python = prebuild_trainer(image, pins, sys.executable, installers)
    shutil.rmtree(tmp_path / "wheels")

    ensure_trainer(base, pins, [sys.executable], installers, has_gpu=False, prebuilt=image)

    assert trainer_file(base)["command"][0] == str(python)  # type: ignore[index]
    assert not base.trainer_environments.exists()
    assert not (image.root).exists()


def test_the_stack_is_installed_and_named_with_its_key(
    base: Base, installers: Installers, tmp_path: Path
) -> None:
    pins = write_stack(tmp_path / "wheels", MODULES)

    ensure_trainer(base, pins, [sys.executable], installers, has_gpu=False)

    (environment,) = base.trainer_environments.iterdir()
    assert trainer_file(base) == {
        "command": [str(environment / "bin" / "python"), "-P", "-m", "agent.trainer"],
        "key": environment.name,
    }
    assert origin_of(base, "torch").startswith(str(environment))


def test_a_file_of_the_users_own_is_never_touched(base: Base, installers: Installers) -> None:
    base.root.mkdir(parents=True)
    for text in ('{"command": ["/opt/venv/bin/python"]}', "not even JSON"):
        base.trainer_file.write_text(text)
        ensure_trainer(base, "torch==1.0\n", [sys.executable], installers, has_gpu=False)
        assert base.trainer_file.read_text() == text
    assert not base.trainer_environments.exists()


@pytest.fixture
def image_python(tmp_path: Path) -> Path:
    """A Python of its own directory whose packages include a torch with CUDA."""
    prefix = tmp_path / "image"
    library = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    library.mkdir(parents=True)
    for entry in Path(sysconfig.get_paths()["stdlib"]).iterdir():
        if entry.name not in ("site-packages", "dist-packages"):
            (library / entry.name).symlink_to(entry)
    python = prefix / "bin" / "python3.11"
    python.parent.mkdir()
    shutil.copy(os.path.realpath(sys.executable), python)
    wheel = tmp_path / "image-wheels"
    write_wheel(wheel, "torch", "2.9.1", CUDA_TORCH)
    with_packages = [
        str(python),
        "-I",
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]
    packages = subprocess.run(with_packages, capture_output=True, text=True, check=True).stdout
    assert packages.startswith(str(prefix))
    shutil.unpack_archive(next(wheel.glob("*.whl")), packages.strip(), "zip")
    return python


def test_a_torch_of_the_image_that_drives_the_gpu_is_used_and_not_installed_again(
    base: Base, installers: Installers, image_python: Path, tmp_path: Path
) -> None:
    pins = write_stack(tmp_path / "wheels", MODULES)
    for wheel in (tmp_path / "wheels").glob("torch-*"):
        wheel.unlink()  # to install it would fail

    ensure_trainer(base, pins, [sys.executable, str(image_python)], installers, has_gpu=True)

    assert origin_of(base, "torch").startswith(str(tmp_path / "image"))
    assert origin_of(base, "peft").startswith(str(base.trainer_environments))


def test_a_torch_that_cannot_drive_the_gpu_or_is_too_old_is_not_used() -> None:
    good = 'noise\ntorch:["2.8.0+cu128", "12.8", true]\n'
    assert read_probe("python3", good) == ImageTorch("python3", "2.8.0+cu128", "12.8")
    for bad in ('["2.8.0", "12.8", false]', '["2.8.0+cpu", "", true]', '["2.5.1", "12.1", true]'):
        assert read_probe("python3", f"torch:{bad}") is None
    assert read_probe("python3", "Traceback ...") is None


def test_the_pins_around_a_torch_hold_it_where_it_is() -> None:
    pins = "numpy==2.4.6\ntorch==2.13.0\ntrl==1.16.0\n"
    held = around(pins, ImageTorch("python3", "2.8.0+cu128", "12.8"))
    assert held == "numpy==2.4.6\ntrl==1.16.0\ntorch==2.8.0+cu128\n"
