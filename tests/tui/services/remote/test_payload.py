from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.errors import InvalidInput
from tui.services.remote.payload import Payload, build_payload
from tui.services.remote.pins import (
    AGENT_PACKAGES,
    TRAINER_PACKAGES,
    pinned,
    read_constraints,
)

AGENT_NEEDS = ("fastapi", "httpx", "platformdirs", "pydantic", "typer", "uvicorn", "websockets")
TRAINER_NEEDS = (
    *("accelerate", "bitsandbytes", "datasets", "peft", "torch", "transformers", "trl"),
    *("pydantic", "tokenizers"),
)
REPOSITORY = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def payload() -> Payload:
    return build_payload()


def test_the_same_files_give_the_same_archive_and_key(payload: Payload) -> None:
    again = Payload(dict(reversed(payload.files.items())))
    assert again.archive() == payload.archive()
    assert again.key == payload.key
    assert Payload({**payload.files, "agent/more.py": b""}).key != payload.key


def test_it_holds_the_agent_and_what_it_shares_and_nothing_of_the_console(
    payload: Payload,
) -> None:
    names = set(payload.files)
    assert {"agent/cli.py", "agent/trainer/train.py", "shared/errors.py"} <= names
    assert "shared/dataset/sample/brightrun-sample.jsonl" in names
    tops = {name.partition("/")[0] for name in names}
    version = importlib.metadata.version("brightrun")
    assert tops == {"agent", "shared", f"brightrun-{version}.dist-info"}
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


def test_a_bare_python_runs_the_installation_from_the_archive(
    payload: Payload, tmp_path: Path
) -> None:
    archive = tmp_path / "code.zip"
    archive.write_bytes(payload.archive())
    command = [sys.executable, "-S", "-P", "-c"]
    code = (
        "import importlib.metadata as m, agent.installation.__main__ as i;"
        "print(i.__file__, m.version('brightrun'))"
    )
    done = subprocess.run(
        [*command, code],
        env={"PYTHONPATH": str(archive)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    module, version = done.stdout.split()
    assert module == f"{archive}/agent/installation/__main__.py"
    assert version == importlib.metadata.version("brightrun")


def test_a_console_from_a_wheel_sends_the_same_as_one_from_a_checkout(
    payload: Payload, tmp_path: Path
) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "site-packages"
    zipfile.ZipFile(wheel).extractall(installed)
    code = (
        "import tui.services.remote.payload as p;"
        "print(p.__file__, p.build_payload().key, *sorted(p.build_payload().files), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    origin, key, *names = done.stdout.splitlines()
    assert origin.startswith(str(installed))
    assert names == sorted(payload.files)
    assert key == payload.key


@pytest.mark.parametrize(
    ("names", "needs"), [(AGENT_PACKAGES, AGENT_NEEDS), (TRAINER_PACKAGES, TRAINER_NEEDS)]
)
def test_every_package_that_is_needed_over_there_is_named(
    names: tuple[str, ...], needs: tuple[str, ...]
) -> None:
    assert list(names) == sorted(_with_all_they_need(needs))


def test_every_package_that_is_installed_over_there_is_pinned() -> None:
    pins = pinned((*AGENT_PACKAGES, *TRAINER_PACKAGES), read_constraints()).splitlines()
    assert len(pins) == len(AGENT_PACKAGES) + len(TRAINER_PACKAGES)
    assert f"fastapi=={importlib.metadata.version('fastapi')}" in pins


def test_a_package_without_a_pin_is_named() -> None:
    with pytest.raises(InvalidInput, match="pins no other;"):
        pinned(("one", "other"), "# comment\none==1.0\n")


def _with_all_they_need(names: Iterable[str]) -> set[str]:
    """The packages and what they require, as those that are installed here say."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found and not requirement.extras:
            continue
        found.add(name)
        extras = requirement.extras or {""}
        for line in importlib.metadata.requires(name) or ():
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found
