from __future__ import annotations

import json

import pytest

from shared.errors import InstallationFailed, InvalidInput, ProtocolError
from tui.services.remote.report import Report, Result, Step


def say(**record: object) -> str:
    return json.dumps(record)


def test_steps_and_the_result_are_read_among_the_machines_noise() -> None:
    report = Report()
    lines = [
        "Welcome to Ubuntu",
        say(brightrun="step", text="one\x1b[31m\nstep"),
        "{broken",
        "[1, 2]",
        say(other="step", text="no"),
        say(brightrun="result", busy=["job-1"]),
        "logout",
    ]
    assert [step for line in lines if (step := report.read(line))] == [Step("one step")]
    assert report.close() == Result(("job-1",))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("InvalidInput", InvalidInput),
        ("InstallationFailed", InstallationFailed),
        ("SystemExit", InstallationFailed),
    ],
)
def test_an_error_over_there_is_the_same_error_here(kind: str, expected: type[Exception]) -> None:
    report = Report()
    report.read(say(brightrun="failed", kind=kind, message="no \x1b]0;x\x07space;\nfree some"))
    with pytest.raises(expected) as caught:
        report.close()
    assert type(caught.value) is expected
    assert str(caught.value) == "no space;\nfree some"


def test_one_that_broke_off_is_told_with_its_last_words() -> None:
    report = Report()
    for line in ["Traceback", "MemoryError\x1b[0m"]:
        report.read(line)
    with pytest.raises(InstallationFailed, match=r"broke off.*Traceback MemoryError$"):
        report.close()


def test_one_that_ended_without_a_word_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="without a word"):
        Report().close()
