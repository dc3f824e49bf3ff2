from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from textual import work
from textual.app import ComposeResult
from textual.widgets import Static

from tests.tui.test_console import open_stand_in
from tui.crash_report import (
    KEPT_REPORTS,
    MAX_REPORT_BYTES,
    crash_lines,
    headline,
    write_crash_report,
)
from tui.crash_safe_app import CrashSafeApp

SECRET = "sesame-environment"
NO_FACTS: Mapping[str, str] = {}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_TOKEN", SECRET)


def raised(message: str) -> Exception:
    """An error with a cause, from a frame with a local that nobody should see."""
    try:
        planted_local = "sesame-local"
        try:
            raise KeyError(message, len(planted_local))
        except KeyError as error:
            raise ValueError(message) from error
    except ValueError as error:
        return error


def test_a_report_says_what_where_and_on_which_machine(tmp_path: Path) -> None:
    path = write_crash_report(
        raised("broken"), tmp_path / "a" / "crashes", facts={"screen": "Jobs"}
    )

    assert path is not None
    assert re.fullmatch(r"crash-\d{8}-\d{6}-\d+\.txt", path.name)
    text = path.read_text()
    assert text.startswith("ValueError: broken\n")
    for part in (
        "brightrun: ",
        "textual: ",
        "python: 3.",
        "platform: ",
        "terminal: ",
        "screen: Jobs",
    ):
        assert f"\n{part}" in text
    assert "KeyError: ('broken', 12)" in text
    assert "The above exception was the direct cause" in text
    assert "in raised" in text


def test_a_report_is_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "crashes"
    directory.mkdir(mode=0o755)

    path = write_crash_report(raised("broken"), directory, facts=NO_FACTS)

    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


def test_neither_secrets_nor_locals_nor_control_sequences_are_in_it(tmp_path: Path) -> None:
    error = raised(f"\x1b]52;c;eA==\x07 {SECRET[:6]}\x1b[0m{SECRET[6:]} hf_0123456789abcdefghij")
    error.add_note(f"note {SECRET}")

    path = write_crash_report(error, tmp_path, facts={"x\x1b[2J": f"y\n{SECRET}"})

    assert path is not None
    text = path.read_text()
    assert SECRET not in text
    assert "hf_0123456789" not in text
    assert "planted_local: " not in text and "planted_local =" not in text
    assert "\x1b" not in text and "\x07" not in text
    assert "\nx: y [redacted]\n" in text
    assert "note [redacted]" in text
    assert SECRET not in crash_lines(error, path, tmp_path)


def test_every_error_of_a_group_is_in_it(tmp_path: Path) -> None:
    group = ExceptionGroup("several", [raised("one"), ExceptionGroup("more", [raised("two")])])

    path = write_crash_report(group, tmp_path, facts=NO_FACTS)

    assert path is not None
    text = path.read_text()
    assert "ValueError: one" in text
    assert "ValueError: two" in text


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("x" * 2_500_000, id="one word"),
        pytest.param("many words " * 20_000, id="many words"),
        pytest.param("ü" * 150_000, id="two bytes a character"),
        pytest.param(f"{SECRET} " * 20_000, id="only secrets"),
        pytest.param("\x00" * 9, id="nothing printable"),
    ],
)
def test_a_report_is_bounded_and_begins_and_ends_as_it_should(message: str, tmp_path: Path) -> None:
    path = write_crash_report(raised(message), tmp_path, facts={"long": message})

    assert path is not None
    assert path.stat().st_size <= MAX_REPORT_BYTES
    text = path.read_text()
    assert text.startswith("ValueError")
    assert SECRET not in text
    assert max(len(line) for line in text.splitlines()[:9]) <= 301


def test_the_newest_reports_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT_REPORTS + 5):
        (tmp_path / f"crash-20200101-0000{number:02}-1.txt").touch()
    (tmp_path / "crash-29990101-000000-1.txt").touch()
    (tmp_path / "notes.txt").touch()

    path = write_crash_report(raised("broken"), tmp_path, facts=NO_FACTS)

    names = sorted(file.name for file in tmp_path.glob("crash-*"))
    assert path is not None
    assert path.name in names
    assert len(names) == KEPT_REPORTS
    assert names[0] == "crash-20200101-000007-1.txt"
    assert (tmp_path / "notes.txt").exists()


def test_two_crashes_in_one_second_are_two_reports(tmp_path: Path) -> None:
    paths = {write_crash_report(raised("broken"), tmp_path, facts=NO_FACTS) for _ in range(3)}
    assert len(paths - {None}) == 3


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_without_words_is_reported_too(tmp_path: Path) -> None:
    path = write_crash_report(Unprintable(), tmp_path, facts=NO_FACTS)

    assert path is not None
    assert path.read_text().startswith("Unprintable: ")
    assert headline(ValueError()) == "ValueError"


def test_a_report_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    directory = tmp_path / "file" / "crashes"
    (tmp_path / "file").touch()
    error = raised("first\nsecond")

    assert write_crash_report(error, directory, facts=NO_FACTS) is None
    assert crash_lines(error, None, directory) == (
        "brightrun stopped: ValueError: first second\n"
        f"No report could be written to {directory}\n"
        "Your jobs go on; `brightrun` shows them again.\n"
    )


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        ("handler", "ValueError: [/] [redacted]"),
        ("group", "ExceptionGroup: all 12 (3 sub-exceptions)"),
        ("rich", "DrawsItself: 12"),
        ("worker", "ValueError: in a worker"),
        ("thread", "ValueError: in a thread"),
        ("compose", "ValueError: while composing"),
        ("panic", "Panic: [red]gave up ValueError: caught"),
        ("init", "ValueError: ('at once', 12)"),
    ],
)
def test_a_crash_restores_the_terminal_and_is_three_lines(mode: str, what: str, home: Path) -> None:
    with open_stand_in(mode, home) as process:
        assert process.wait() == 1
        assert process.is_restored or mode == "init"

    (report,) = (home / "crashes").iterdir()
    assert process.last_words.splitlines() == [
        f"brightrun stopped: {what}",
        f"The report is in {report}",
        "Your jobs go on; `brightrun` shows them again.",
    ]
    assert "sesame" not in process.output
    assert "Traceback" not in process.output
    assert report.stat().st_mode & 0o777 == 0o600
    assert "sesame" not in report.read_text()


def test_an_error_in_a_stylesheet_says_where_in_the_report(home: Path) -> None:
    with open_stand_in("css", home) as process:
        assert process.wait() == 1
        assert process.is_restored

    (report,) = (home / "crashes").iterdir()
    assert len(process.last_words.splitlines()) == 3
    assert "StandInApp.CSS:1:" in report.read_text()


class Crashing(CrashSafeApp[None]):
    def compose(self) -> ComposeResult:
        yield Static()

    def key_x(self) -> None:
        raise LookupError("x was pressed")

    @work
    async def key_w(self) -> None:
        raise LookupError("w was pressed")

    def crash_facts(self) -> Mapping[str, str]:
        return {**super().crash_facts(), "pressed": "x"}


async def test_a_test_sees_the_original_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = Crashing(tmp_path)

    with pytest.raises(LookupError, match="x was pressed"):
        async with app.run_test() as pilot:
            await pilot.press("x")

    (report,) = tmp_path.iterdir()
    assert app.return_code == 1
    assert "\npressed: x\n" in report.read_text()
    assert "\nscreens: Screen\n" in report.read_text()
    assert capsys.readouterr().err.splitlines()[1] == f"The report is in {report}"


async def test_an_app_whose_facts_fail_is_reported_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Crashing, "crash_facts", lambda self: 1 / 0)

    with pytest.raises(LookupError):
        async with Crashing(tmp_path).run_test() as pilot:
            await pilot.press("x")

    (report,) = tmp_path.iterdir()
    assert "facts: none, because of ZeroDivisionError" in report.read_text()


async def test_an_exit_with_a_message_is_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = Crashing(tmp_path / "crashes")
    async with app.run_test():
        app.exit(message="bye [/]")

    assert capsys.readouterr().err == "bye [/]\n"
    assert not (tmp_path / "crashes").exists()
