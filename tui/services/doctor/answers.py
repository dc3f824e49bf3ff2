"""What a machine says of itself (`questions`), and what that means for a job."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.agent_protocol import GpuFacts, MachineFacts
from shared.clean_text import clean_line
from shared.errors import ProtocolError
from shared.number_text import size
from shared.nvidia_smi import parse_report
from tui.services.doctor.checks import Outcome, failure, ok, warning
from tui.services.doctor.questions import MARK
from tui.views.machine_row import gpu_words

ROOM_BYTES = 20_000_000_000
"""The training stack takes 9 GB with the CUDA libraries of torch 2.13 (2026-11), and the base model
comes on top: 16 GB for 8B parameters, 141 GB for 70B."""
LEAST_ROOM_BYTES = 2_000_000_000
LEAST_MEMORY_BYTES = 4_000_000_000
"""Importing the training stack takes 1 GB; a base model passes through memory in pieces."""
MOST_CLOCK_DIFFERENCE_S = 10.0


class Answers(BaseModel):
    """Written by the other machine; None is what it does not tell."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: float
    disk_path: str = "?"
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    is_writable: bool = True
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    gpu_report: str | None = None
    gpu_trouble: str = ""
    index: str = ""
    index_trouble: str = ""


@cache
def program() -> str:
    """The source of `questions`, for another machine's Python."""
    source = files("tui.services.doctor").joinpath("questions.py")
    return source.read_text(encoding="utf-8")


def read_answers(output: str) -> Answers:
    """What the program printed, whatever else was printed around it.

    Raises:
        ProtocolError: there is no answer in it.
    """
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        last = clean_line(output[-200:]) or "nothing"
        raise ProtocolError(f"Python there did not answer; it said last: {last}")
    try:
        return Answers.model_validate_json(line.removeprefix(MARK))
    except ValidationError as error:
        raise ProtocolError("the machine's answer about itself makes no sense.") from error


def disk(answers: Answers) -> Outcome:
    """Whether there is room for the training stack and a base model."""
    free = answers.disk_free_bytes
    if free is None:
        return warning("unknown", "See with df how much is free there.")
    found = f"{size(free)} free in {answers.disk_path}"
    if not answers.is_writable:
        return failure(f"{answers.disk_path} cannot be written", "Make it writable for this user.")
    if free < LEAST_ROOM_BYTES:
        return failure(found, f"Free some: at least {size(LEAST_ROOM_BYTES)} are needed.")
    if free < ROOM_BYTES:
        return warning(
            found,
            f"{size(ROOM_BYTES)} are room for the training stack with CUDA (9 GB) and a small "
            "base model; 70B parameters take 141 GB more.",
        )
    return ok(found)


def memory(answers: Answers) -> Outcome:
    """Whether the training stack fits."""
    total, available = answers.memory_total_bytes, answers.memory_available_bytes
    if total is None or available is None:
        return warning("unknown", "See with free how much there is.")
    found = f"{size(available)} available of {size(total)}"
    if available < LEAST_MEMORY_BYTES:
        return warning(found, f"Less than {size(LEAST_MEMORY_BYTES)}: end what else runs there.")
    return ok(found)


def gpu(answers: Answers) -> Outcome:
    """GPUs with their driver."""
    try:
        gpus = () if answers.gpu_report is None else parse_report(answers.gpu_report)
    except ProtocolError as error:
        return failure(str(error), "Run nvidia-smi there; a restart of the machine often helps.")
    if answers.gpu_trouble:
        return failure(
            answers.gpu_trouble, "Run nvidia-smi there; a restart of the machine often helps."
        )
    if not gpus:
        return warning("no NVIDIA GPU", "Only the tiny models train here in useful time.")
    return ok(f"{gpu_words(MachineFacts(gpus=gpus))}, {_driver(gpus[0])}")


def _driver(first: GpuFacts) -> str:
    return f"driver {first.driver or '?'}, CUDA up to {first.cuda or '?'}"


def clock(answers: Answers, asked_at: float, answered_at: float) -> Outcome:
    """How far the machine's clock is off; it told its time between these two of ours."""
    difference_s = max(asked_at - answers.time, answers.time - answered_at, 0.0)
    if difference_s == 0.0:
        return ok("agrees with this one")
    found = f"{difference_s:.0f} s {'ahead' if answers.time > answered_at else 'behind'}"
    if difference_s <= MOST_CLOCK_DIFFERENCE_S:
        return ok(found)
    return warning(
        found, "Times of events look wrong: switch on time synchronisation (timedatectl set-ntp 1)."
    )


def package_index(answers: Answers, *, is_installed: bool) -> Outcome:
    """Whether packages can be installed from there."""
    if not answers.index_trouble:
        return ok(f"{answers.index} answers")
    found = f"{answers.index}: {answers.index_trouble}"
    fix = "Look at the network, proxy and pip configuration there."
    return warning(found, fix) if is_installed else failure(found, fix)
