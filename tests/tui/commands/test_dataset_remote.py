"""`brightrun dataset remote`, and a start from a file of the web application."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.local_console import Console


@pytest.fixture
def console(tmp_path: Path, fresh_supabase: SupabaseRig) -> Console:
    made = Console(tmp_path)
    made.environment.update(fresh_supabase.environment())
    made.environment["BRIGHTRUN_SUPABASE_USER"] = fresh_supabase.user_one
    return made


@pytest.fixture
def with_agent(console: Console) -> Iterator[Console]:
    console.start_agent()
    yield console
    console.kill_agent()


def test_a_file_is_registered_listed_fetched_and_started_elsewhere(
    with_agent: Console, fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    console = with_agent
    assert "no training file" in console.run("dataset", "remote")[2]
    code, out, err = console.run(
        "dataset", "remote", "register", console.dataset, "--name", "Pilot \x1b[31mweek"
    )
    file_id = out.strip()
    assert (code, str(uuid.UUID(file_id))) == (0, file_id)
    assert "read back and verified" in err
    assert "already" in console.run("dataset", "remote", "register", console.dataset)[2]

    listed = console.run("dataset", "remote", "list", "pilot")[1]
    assert listed.splitlines()[1].split()[:3] == [file_id, "Pilot", "week"]
    assert listed.split()[-1] == "yes"
    assert "\x1b" not in listed
    [described] = json.loads(console.run("dataset", "remote", "--json")[1])["files"]
    assert (described["id"], described["conversation_count"]) == (file_id, 1)
    assert "fits" in console.run("dataset", "remote", "list", "nothing")[2]

    (tmp_path / "other").mkdir()
    other = Console(tmp_path / "other")
    other.environment.update(fresh_supabase.environment())
    code, out, err = other.run("dataset", "remote", "fetch", file_id)
    assert code == 0
    assert "its hash holds" in err
    assert Path(out.strip()).read_bytes() == console.dataset.read_bytes()

    code, out, err = console.run(
        "start", "--training-file-id", file_id, "--job-id", "job-web", "--notes", "steps=2"
    )
    assert code == 0, err
    assert console.run("watch", "job-web")[0] == 0
    shown = json.loads(console.run("show", "job-web", "--json")[1])
    assert shown["job"]["dataset"]["sha256"] == described["sha256"]


def test_a_start_takes_one_kind_of_file(console: Console) -> None:
    for arguments in ((), ("--dataset", "a.json", "--training-file-id", str(uuid.uuid4()))):
        code, _, err = console.run("start", *arguments)
        assert code == 2
        assert "--training-file-id" in err


def test_a_file_that_is_not_there_starts_nothing(console: Console) -> None:
    code, out, err = console.run("start", "--training-file-id", str(uuid.uuid4()))
    assert (code, out) == (2, "")
    assert "none that you may see" in err
    assert console.run("dataset", "remote", "fetch", "17")[0] == 2
    assert "no jobs yet" in console.run("jobs")[2].lower()


def test_a_change_there_is_said(console: Console, fresh_supabase: SupabaseRig) -> None:
    file_id = console.run("dataset", "remote", "register", console.dataset)[1].strip()
    content = console.dataset.read_bytes() + b"\n"
    [there] = fresh_supabase.execute("select version from storage.objects")
    (fresh_supabase.storage.directory / str(there["version"])).write_bytes(content)
    fresh_supabase.execute(
        "update storage.objects set metadata = metadata || jsonb_build_object('size', $1::int)",
        len(content),
    )
    fresh_supabase.execute(
        "update training_files set json_file_size = $1, sha256 = encode(sha256($2), 'hex')",
        len(content),
        content,
    )

    assert console.run("dataset", "remote")[1].split()[-1] == "changed"
    code, out, err = console.run("dataset", "remote", "fetch", file_id)

    assert code == 0
    assert "has changed in the web application" in err
    assert Path(out.strip()).read_bytes() == content
