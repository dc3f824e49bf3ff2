from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args, get_type_hints

import pytest

from shared.hyperparameters import Preset
from shared.lifecycle import JobStatus, StopReason
from shared.store.store import open_store
from tests.shared.store.journal import completed_job, ended, job_spec, journal, started
from tui import command_line
from tui.cli import run_app
from tui.commands.completion import complete_job_id

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "runpod",
    "supabase",
    "textual",
    "fastapi",
    "uvicorn",
)


COMMANDS = (
    *("console", "demo", "start", "jobs", "show", "watch", "logs", "cancel", "retry", "fetch"),
    *("resume", "export", "machines", "doctor", "dataset", "serve", "answer"),
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Brightrun = Callable[..., Outcome]


@pytest.fixture
def brightrun(home: Path, capsys: pytest.CaptureFixture[str]) -> Brightrun:
    """The command line, run in this process on an empty home."""

    def run(*arguments: str | Path) -> Outcome:
        code = run_app(command_line.app, [str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document("Hello there.")))
    return path


def document(answer: str, conversation_id: str = "c1") -> dict[str, object]:
    """A training file of two conversations; the first has this one answer."""
    return {
        "training_file_metadata": {"version": "4.0.0", "format_spec": "brightrun-lora-v4"},
        "consultant_profile": {},
        "conversations": [
            _conversation(conversation_id, answer),
            _conversation("sound", "All is well."),
        ],
    }


def _conversation(conversation_id: str, answer: str) -> dict[str, object]:
    pair = {
        "id": f"{conversation_id}_turn1",
        "conversation_id": conversation_id,
        "turn_number": 1,
        "system_prompt": "Be kind.",
        "conversation_history": [],
        "current_user_input": "Hi",
        "target_response": answer,
    }
    return {
        "conversation_metadata": {"conversation_id": conversation_id},
        "training_pairs": [pair],
    }


def test_help_lists_the_commands_and_the_exit_codes(brightrun: Brightrun) -> None:
    code, out, _ = brightrun("--help")

    assert code == 0
    for word in (*COMMANDS, "130"):
        assert word in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(brightrun: Brightrun, command: str) -> None:
    assert brightrun(command, "--help").code == 0


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from tui.cli import main\n"
        "sys.argv = ['brightrun', sys.argv[1]]\n"
        "try:\n    main()\nexcept SystemExit as finished:\n    assert not finished.code\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)\n"
    )
    for option, unwanted in (
        ("--help", {"pydantic", "sqlalchemy", "httpx", "websockets", "rich", "asyncio", *HEAVY}),
        ("--version", {"typer", "asyncio", "pydantic", *HEAVY}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script, option], capture_output=True, text=True, check=True
        )
        assert set(done.stderr.split()) & unwanted == set()
        assert "brightrun" in done.stdout


_SERVER = "tui.services.web_api."
"""The room that brings a web server along; only `serve --api` goes there, but for its tokens."""


def loaded_by(*packages: str) -> set[str]:
    """All modules that are there once every module of these packages is, but for the server's."""
    script = (
        "import importlib, pkgutil, sys\n"
        "for name in sys.argv[1:]:\n"
        "    package = importlib.import_module(name)\n"
        "    for module in pkgutil.walk_packages(getattr(package, '__path__', []), name + '.'):\n"
        f"        if not module.name.startswith({_SERVER!r}):\n"
        "            importlib.import_module(module.name)\n"
        "print(*sys.modules, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *packages], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_nothing_of_the_console_loads_the_training_stack_or_the_agent() -> None:
    loaded = loaded_by("tui")
    assert "tui.screens.new_job" in loaded
    assert loaded & (set(HEAVY) - {"textual"}) == set()
    assert not any(name == "agent" or name.startswith("agent.") for name in loaded)


def test_commands_services_and_views_know_no_screen() -> None:
    loaded = loaded_by("tui.commands", "tui.services", "tui.views", "tui.console")
    assert "tui.services.mirror" in loaded
    assert loaded & set(HEAVY) == set()


def test_the_first_screen_waits_for_no_database_and_no_network_library() -> None:
    slow = {"pydantic", "sqlalchemy", "httpx", "websockets", "tokenizers", "plotext", *HEAVY}
    assert loaded_by("tui.app") & (slow - {"textual"}) == set()


def test_the_presets_on_offer_are_those_there_are() -> None:
    hint = get_type_hints(command_line.start)["preset"]
    assert set(get_args(hint)) == set(Preset)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--set", "learning_rate=2"], "learning_rate = '2' is out of range"),
        (["--set", "learning_rate"], "NAME=VALUE"),
        (["--set", "warmth=1"], "job options are cut_targets"),
        (["--set", "num_gpus=0"], "num_gpus = '0' is out of range: it must be a whole number"),
        (["--name", "x"], "name"),
        (["--job-id", "Not An Id"], "job_id"),
        (["--preset", "wild"], "wild"),
        (["--host", "mars"], "mars"),
        (["--warp"], "--warp"),
    ],
)
def test_invalid_input_is_refused_before_anything_is_started(
    brightrun: Brightrun, dataset: Path, home: Path, arguments: list[str], complaint: str
) -> None:
    code, out, err = brightrun("start", "--dataset", dataset, *arguments)

    assert (code, out) == (2, "")
    assert complaint in err
    assert "Traceback" not in err
    assert not home.exists()


def test_a_dataset_with_errors_is_not_started(
    brightrun: Brightrun, tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document("   ")))

    code, out, err = brightrun("start", "--dataset", path)

    assert code == 2
    assert "error  c1" in out
    assert "nothing was started" in err
    assert not home.exists()


def test_a_missing_dataset_is_one_line(brightrun: Brightrun, tmp_path: Path) -> None:
    code, _, err = brightrun("start", "--dataset", tmp_path / "nothing.json")

    assert code == 2
    assert err.startswith("brightrun: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "command", [["show"], ["watch"], ["logs"], ["cancel"], ["fetch"], ["show", "--json"]]
)
def test_an_unknown_job_has_its_own_exit_code(brightrun: Brightrun, command: list[str]) -> None:
    code, out, err = brightrun(*command, "nobody")

    assert (code, out) == (4, "")
    assert "there is no job 'nobody'" in err


def test_a_damaged_database_is_one_line(brightrun: Brightrun, home: Path) -> None:
    home.mkdir()
    (home / "brightrun.db").write_bytes(b"not a database" * 500)

    code, _, err = brightrun("jobs")

    assert code == 1
    assert err.startswith(f"brightrun: {home}/brightrun.db: file is not a database.")


def test_an_empty_home_has_no_jobs(brightrun: Brightrun) -> None:
    code, out, err = brightrun("jobs")
    assert (code, out) == (0, "")
    assert "no jobs yet" in err
    assert brightrun("jobs", "--json").out == "[]\n"


def test_checking_a_dataset_tells_by_its_exit_code(brightrun: Brightrun, tmp_path: Path) -> None:
    path = tmp_path / "train.json"

    path.write_text(json.dumps(document("Hello there.")))
    assert brightrun("dataset", "check", path, "--strict").code == 0

    path.write_text(json.dumps(document("Cut in the mid\\")))
    assert brightrun("dataset", "check", path).code == 0
    assert brightrun("dataset", "check", path, "--strict").code == 1

    path.write_text(json.dumps(document(" ")))
    assert brightrun("dataset", "check", path).code == 2

    path.write_text("{")
    code, out, _ = brightrun("dataset", "check", path)
    assert code == 2
    assert str(path) in out


def test_a_checked_dataset_as_json_is_data_only(brightrun: Brightrun, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document("Cut in the mid\\")))

    report = json.loads(brightrun("dataset", "check", path, "--json").out)

    assert report["conversations"] == 2
    assert [finding["code"] for finding in report["findings"]] == ["cut_target"]


def test_a_dataset_cannot_steer_the_terminal(brightrun: Brightrun, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    evil = "\x1b]52;c;cm0=\x07[/][@click=app.quit]\u202e\\"
    path.write_text(json.dumps(document(evil, conversation_id=f"c{evil}[red]")))

    plain = brightrun("dataset", "check", path)
    as_json = brightrun("dataset", "check", path, "--json")

    assert plain.code == as_json.code == 0
    assert "[red]" in plain.out
    for text in (*plain[1:], *as_json[1:]):
        assert not set(text) & {"\x1b", "\x07", "\u202e"}


async def _fill(home: Path) -> None:
    async with open_store(home / "brightrun.db") as store:
        for job_id, name in (("job-one", "Good \x1b[31m[/] job"), ("job-two", "Bad job")):
            await store.add_job(job_spec(job_id, name=name), "local")
        await store.apply_records("job-one", completed_job())
        failed = journal(
            started(), ended(StopReason.OUT_OF_MEMORY, detail="at step 3"), job_id="job-two"
        )
        await store.apply_records("job-two", failed)
        await store.add_job(job_spec("other"), "local")
        await store.settle_job("other", JobStatus.CANCELLED, "changed my mind")


def test_jobs_that_are_final_are_listed_without_an_agent(brightrun: Brightrun, home: Path) -> None:
    asyncio.run(_fill(home))

    code, out, err = brightrun("jobs")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["JOB", "other", "job-two", "job-one"]
    assert "\x1b" not in out
    assert "[/] job" in out

    failed = json.loads(brightrun("jobs", "--status", "failed", "--json").out)
    assert [(job["job_id"], job["error_message"]) for job in failed] == [
        ("job-two", "out_of_memory: at step 3")
    ]


def test_showing_a_job_says_why_it_failed_and_what_to_do(brightrun: Brightrun, home: Path) -> None:
    asyncio.run(_fill(home))

    code, out, _ = brightrun("show", "job-two")
    assert code == 0
    assert "out_of_memory: at step 3" in out
    assert "Lower max_seq_length" in out

    shown = json.loads(brightrun("show", "job-one", "--json").out)
    assert shown["status"] == "completed"
    assert shown["artifacts"][0]["manifest_sha256"] == "b" * 64


@pytest.mark.parametrize(("job_id", "code"), [("job-one", 0), ("job-two", 1), ("other", 3)])
def test_watching_a_job_that_is_over_returns_how_it_ended(
    brightrun: Brightrun, home: Path, job_id: str, code: int
) -> None:
    asyncio.run(_fill(home))

    assert brightrun("watch", job_id).code == code


def test_watching_as_json_prints_every_record_of_the_job(brightrun: Brightrun, home: Path) -> None:
    asyncio.run(_fill(home))

    lines = brightrun("watch", "job-one", "--json").out.splitlines()

    assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(completed_job()) + 1))


def test_an_ambiguous_prefix_names_the_candidates(brightrun: Brightrun, home: Path) -> None:
    asyncio.run(_fill(home))

    code, _, err = brightrun("show", "job")

    assert code == 4
    assert "job-one, job-two" in err


def test_job_ids_complete_in_the_shell(home: Path) -> None:
    assert complete_job_id("") == []
    asyncio.run(_fill(home))
    assert complete_job_id("job-") == ["job-two", "job-one"]
