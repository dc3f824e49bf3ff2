from __future__ import annotations

import pytest

from shared.errors import ProtocolError
from tests.fakes.nvidia_smi import TWO_H100
from tui.services.doctor import answers
from tui.services.doctor.answers import Answers, read_answers
from tui.services.doctor.questions import MARK


def answered(**values: object) -> Answers:
    return Answers.model_validate({"time": 0.0, **values})


def test_the_answer_is_found_in_whatever_a_login_script_prints() -> None:
    output = f'Welcome!\r\n{MARK[:-1]}\n{MARK}{{"time": 5, "new": 1}}\nbye\n'
    assert read_answers(output).time == 5


@pytest.mark.parametrize(
    "output", ["", "no python\x1b[2J", f"{MARK}{{", f'{MARK}{{"time": "late"}}', f"{MARK}[]"]
)
def test_anything_else_is_a_protocol_error_in_clean_words(output: str) -> None:
    with pytest.raises(ProtocolError) as error:
        read_answers(output)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(None, "warning"), (1_000_000_000, "failure"), (9_000_000_000, "warning"), (10**12, "ok")],
)
def test_room_on_the_disk(free: int | None, verdict: str) -> None:
    assert answers.disk(answered(disk_free_bytes=free)).verdict == verdict


def test_a_directory_that_cannot_be_written_is_a_failure() -> None:
    assert answers.disk(answered(disk_free_bytes=10**12, is_writable=False)).verdict == "failure"


@pytest.mark.parametrize(
    ("available", "verdict"), [(None, "warning"), (1, "warning"), (10**11, "ok")]
)
def test_memory(available: int | None, verdict: str) -> None:
    told = answered(memory_total_bytes=10**12, memory_available_bytes=available)
    assert answers.memory(told).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict", "words"),
    [
        ({}, "warning", "no NVIDIA GPU"),
        (
            {"gpu_report": TWO_H100},
            "ok",
            "2 × H100 80GB HBM3, 80 GiB, driver 570.86.15, CUDA up to 12.8",
        ),
        ({"gpu_report": "<?xml"}, "failure", "something else"),
        ({"gpu_trouble": "it hangs"}, "failure", "it hangs"),
    ],
)
def test_gpus(values: dict[str, str], verdict: str, words: str) -> None:
    outcome = answers.gpu(answered(**values))
    assert outcome.verdict == verdict
    assert words in outcome.found


@pytest.mark.parametrize(
    ("time", "verdict", "found"),
    [
        (100.0, "ok", "agrees with this one"),
        (101.9, "ok", "agrees with this one"),
        (107.0, "ok", "5 s ahead"),
        (40.0, "warning", "60 s behind"),
        (4000.0, "warning", "3898 s ahead"),
    ],
)
def test_a_clock_that_is_off_by_more_than_the_answer_took_is_told(
    time: float, verdict: str, found: str
) -> None:
    outcome = answers.clock(answered(time=time), asked_at=100.0, answered_at=102.0)
    assert (outcome.verdict, outcome.found) == (verdict, found)


def test_without_a_package_index_only_what_is_installed_can_run() -> None:
    told = answered(index="pypi.org", index_trouble="Network is unreachable")
    assert answers.package_index(told, is_installed=False).verdict == "failure"
    assert answers.package_index(told, is_installed=True).verdict == "warning"
    assert answers.package_index(answered(index="pypi.org"), is_installed=False).verdict == "ok"
