from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from shared.machine_request import MachineRequest
from tui import command_line
from tui.cli import run_app
from tui.commands.machines_image import BASE, image_steps

REPOSITORY = Path(__file__).parents[3]


def run(*arguments: str) -> int:
    return run_app(command_line.app, ["machines", "image", *arguments])


def test_the_steps_lead_from_the_context_to_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--tag", "ghcr.io/me/brightrun:1") == 0

    told = capsys.readouterr().out
    assert (tmp_path / "brightrun-image" / "Dockerfile").exists()
    for words in (
        "The build context is in brightrun-image (",
        "--tag ghcr.io/me/brightrun:1 brightrun-image\n",
        "docker login ghcr.io\n",
        "docker push ghcr.io/me/brightrun:1\n",
        "brightrun start --host runpod --image ghcr.io/me/brightrun:1 --budget",
        "--registry ID",
        "unverified",
    ):
        assert words in told


def test_the_steps_are_data_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "some place"
    assert run("--tag", "me/brightrun:1", "--to", str(where), "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert told["context"] == str(where)
    [build] = told["steps"][0]["commands"]
    assert shlex.split(build)[-1] == str(where)
    assert told["template"]["image"] == "me/brightrun:1"


@pytest.mark.parametrize(
    "tag", ["", "brightrun", "me/brightrun", "Me/x:1", "me/x:1; rm -rf /", "-x/y:1"]
)
def test_a_tag_that_docker_would_refuse_is_refused_here(
    tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(f"--tag={tag}") == 2
    assert "give REPOSITORY/NAME:TAG" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_base_that_is_named_is_that_of_the_dockerfile() -> None:
    assert f"FROM {BASE}$" in (REPOSITORY / "agent" / "Dockerfile").read_text()


def test_an_image_with_no_registry_of_its_own_is_dockers() -> None:
    [login] = [
        command
        for step in image_steps("me/brightrun:1", Path("x"))
        for command in step.commands
        if command.startswith("docker login")
    ]
    assert login == "docker login docker.io"


def test_a_request_takes_any_image(tmp_path: Path) -> None:
    asked = {
        "candidates": [{"gpu_type": "H100_PCIE", "usd_per_hour": 2.0}],
        "budget_usd": 5.0,
        "image": "localhost:5000/me/brightrun@sha256:" + "0" * 64,
        "start_script": "/opt/start.sh",
        "mount_path": "/data",
        "registry": "6n2k8v4d",
    }
    assert MachineRequest.model_validate(asked).image == asked["image"]
    for name, value in (("start_script", "start.sh"), ("mount_path", "x"), ("registry", "a b")):
        with pytest.raises(ValueError, match=name):
            MachineRequest.model_validate({**asked, name: value})
