"""Where the agent keeps what signs webhooks: in memory, for its owner alone, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.webhook_secrets import WebhookSecrets, directory_in_memory, is_in_memory
from shared.webhook import WebhookTarget
from shared.webhook_protocol import WebhookSetting

SETTING = WebhookSetting(
    target=WebhookTarget(url="https://hooks.example/"),
    secret=SecretStr("the canary"),
    web_job_id="6f1d2b1e-3c7a-5b8e-9d40-8a3f5e7c2b61",
    tells_end=True,
)


def test_a_setting_is_kept_for_its_owner_alone_until_it_is_forgotten(tmp_path: Path) -> None:
    secrets = WebhookSecrets(tmp_path / "made")
    secrets.keep("job-one", SETTING)

    [path] = (tmp_path / "made").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert WebhookSecrets(tmp_path / "made").read("job-one") == SETTING
    assert secrets.read("job-two") is None

    secrets.forget("job-one")
    secrets.tidy()
    assert secrets.read("job-one") is None
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_in_memory_nothing_is_written() -> None:
    secrets = WebhookSecrets(None)
    secrets.keep("job-one", SETTING)
    assert secrets.read("job-one") is None


def test_a_place_that_refuses_is_no_reason_to_fail(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    WebhookSecrets(taken).keep("job-one", SETTING)


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "webhook-job-one.json").write_text('{"target":')
    assert WebhookSecrets(tmp_path).read("job-one") is None


def test_the_secret_is_not_in_what_is_printed() -> None:
    assert "canary" not in repr(SETTING) + str(SETTING) + SETTING.model_dump_json()


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:25 / /dev/shm rw,nosuid - tmpfs tmpfs rw
31 30 254:0 /x /dev/shm/on\\040disk rw - ext4 /dev/root rw
32 22 0:26 / /run rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/dev/shm/brightrun-0-x", True),
        ("/dev/shm", True),
        ("/dev/shm/on disk/x", False),
        ("/run/user/1000/x", True),
        ("/tmp/x", False),
        ("/running", False),
    ],
)
def test_what_is_in_memory_is_told_by_the_mounts(tmp_path: Path, path: str, expected: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert is_in_memory(Path(path), mounts) is expected
    assert not is_in_memory(Path(path), tmp_path / "missing")


@pytest.mark.skipif(not is_in_memory(Path("/dev/shm")), reason="/dev/shm is not in memory here")
def test_a_directory_of_a_stranger_is_not_used(tmp_path: Path) -> None:
    wanted = tmp_path / f"brightrun-test-{os.getpid()}"
    beside = Path("/dev/shm") / wanted.name
    assert directory_in_memory(wanted) == beside
    beside.symlink_to(tmp_path)
    try:
        assert directory_in_memory(wanted) is None
    finally:
        beside.unlink()
