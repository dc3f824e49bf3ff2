"""`brightrun machines image`: the steps from here to an image of one's own on a rented machine."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidInput
from shared.number_text import size
from tui import exit_codes
from tui.commands.output import print_json, say_line
from tui.services.image_context import template, write_context
from tui.services.remote.payload import build_payload

BASE = "nvidia/cuda:12.8.1-base-ubuntu24.04"
_TAG = re.compile(r"[a-z0-9][a-z0-9._:/-]*/[a-z0-9._/-]+:[\w][\w.-]{0,127}", re.ASCII)


UNVERIFIED = (
    "The Dockerfile is linted and its scripts are tested; an image has not been built from it yet, "
    "nor run on RunPod: unverified on hardware."
)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, and the commands that do it."""

    title: str
    commands: tuple[str, ...]


def print_image_steps(tag: str, directory: Path, *, as_json: bool) -> int:
    """Write the build context and print what to do with it.

    Raises:
        InvalidInput: the tag is none, or the directory cannot be used.
    """
    if not _TAG.fullmatch(tag):
        raise InvalidInput(
            f"--tag {tag[:200]!r}: give REPOSITORY/NAME:TAG in small letters, such as "
            "ghcr.io/you/brightrun:0.1.0."
        )
    written_bytes = write_context(directory, build_payload())
    steps = image_steps(tag, directory)
    if as_json:
        told = [{"title": step.title, "commands": step.commands} for step in steps]
        print_json({"context": str(directory), "steps": told, "template": template(tag)})
        return exit_codes.OK
    say_line(f"The build context is in {directory} ({size(written_bytes)}).")
    for number, step in enumerate(steps, start=1):
        say_line(f"\n{number}. {step.title}")
        for command in step.commands:
            say_line(f"   {command}")
    say_line(f"\n{UNVERIFIED}")
    return exit_codes.OK


def image_steps(tag: str, directory: Path) -> list[Step]:
    """Build, push, use, and what is only needed sometimes."""
    version = importlib.metadata.version("brightrun")
    image, place = shlex.quote(tag), shlex.quote(str(directory))
    build = f"docker build --platform linux/amd64 --build-arg VERSION={version} --tag {image}"
    return [
        Step(
            "Build it. It needs Docker with BuildKit, no GPU, and room: the packages alone take "
            "9 GB.",
            (f"{build} {place}",),
        ),
        Step(
            "To have the very same base each time, look up its digest, and add it to the build.",
            (
                f"docker buildx imagetools inspect {BASE}",
                f"{build} --build-arg BASE_DIGEST=@sha256:... {place}",
            ),
        ),
        Step(
            "Push it to where RunPod can pull it.",
            (f"docker login {shlex.quote(_registry(tag))}", f"docker push {image}"),
        ),
        Step(
            "Rent machines with it. Their start finds everything installed as long as this "
            "console has the same version; another version installs what differs, as on any image.",
            (f"brightrun start --host runpod --image {image} --budget USD --dataset FILE",),
        ),
        Step(
            "A private image: store its credentials in RunPod's console (Settings, Container "
            "registry auth) or by POST https://api.runpod.io/v2/registries; they stay there, and "
            "a job names their id.",
            (f"brightrun start --host runpod --image {image} --registry ID ...",),
        ),
        Step(
            "Jobs need no template. For pods that you start by hand: POST "
            "https://api.runpod.io/v2/templates with this body.",
            (json.dumps(template(tag)),),
        ),
    ]


def _registry(tag: str) -> str:
    """The server of a tag; Docker's own where it names none."""
    first = tag.partition("/")[0]
    return first if "." in first or ":" in first else "docker.io"
