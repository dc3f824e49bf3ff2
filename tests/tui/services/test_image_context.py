from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import jsonschema
import pytest

from shared.errors import InvalidInput
from tests.fakes.runpod.schema import SPECS
from tui.services.image_context import template, write_context
from tui.services.remote.payload import Payload, build_payload


@pytest.fixture(scope="module")
def payload() -> Payload:
    return build_payload()


def test_the_context_holds_what_the_dockerfile_copies(payload: Payload, tmp_path: Path) -> None:
    directory = tmp_path / "a" / "context"
    written_bytes = write_context(directory, payload)

    files = sorted(p for p in directory.rglob("*") if p.is_file())
    assert [str(path.relative_to(directory)) for path in files] == [
        ".dockerignore",
        "Dockerfile",
        "code.zip",
        "image/environments.sh",
        "image/start.sh",
        "image/system.sh",
    ]
    assert written_bytes == sum(path.stat().st_size for path in files)
    with zipfile.ZipFile(directory / "code.zip") as code:
        assert {"agent/cli.py", "shared/errors.py"} <= set(code.namelist())
        assert not [name for name in code.namelist() if name.startswith("tui/")]


def test_an_older_context_is_written_over(payload: Payload, tmp_path: Path) -> None:
    write_context(tmp_path, payload)
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    write_context(tmp_path, payload)
    assert (tmp_path / "Dockerfile").read_bytes() == payload.files["agent/Dockerfile"]


def test_a_directory_with_anything_else_is_left_alone(payload: Payload, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InvalidInput, match=r"holds something else \(notes.txt\); name another one"):
        write_context(tmp_path, payload)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_place_that_cannot_be_written_is_named(payload: Payload, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"file.*Not a directory; name another directory"):
        write_context(tmp_path / "file" / "context", payload)


def test_runpod_would_take_the_template() -> None:
    document = SPECS / "runpod-openapi-v2.json"
    if not document.exists():
        pytest.skip(f"needs {document}")
    components = json.loads(document.read_text())["components"]
    schema = {"$ref": "#/components/schemas/CreateTemplateRequest", "components": components}
    body = template("ghcr.io/you/brightrun:0.1.0")
    jsonschema.Draft202012Validator(schema).validate(body)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({**body, "unknown": 1})
