from __future__ import annotations

import pytest

from agent.installation.packages import Progress, explain
from shared.errors import InstallationFailed, InvalidInput


def test_pips_lines_become_steps_with_sizes_and_rates() -> None:
    progress = Progress()
    lines = [
        (0.0, "Collecting torch==2.13.0"),
        (0.0, "  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (530.7 MB)"),
        (0.5, "Progress 10000000 of 530700000"),
        (2.0, "Progress 100000000 of 530700000"),
        (2.1, "Progress 110000000 of 530700000"),
        (9.0, "Installing collected packages: sympy, torch"),
    ]
    steps = [progress.read(line, now) for now, line in lines]
    assert list(filter(None, steps)) == [
        "downloading torch-2.13.0 (530.7 MB)",
        "downloading torch-2.13.0: 100 of 531 MB, 50 MB/s",
        "unpacking 2 packages",
    ]


def test_uvs_lines_become_steps_too() -> None:
    assert Progress().read("Downloading torch (506.1MiB)", 0) == "downloading torch (506.1MiB)"


def test_what_pip_says_last_is_kept_without_control_sequences_and_progress() -> None:
    progress = Progress()
    for line in ["Collecting x", "\x1b[31mERROR: \x1b]0;owned\x07no\x1b[0m", "Progress 1 of 2"]:
        progress.read(line, 0)
    assert list(progress.tail) == ["Collecting x", "ERROR: no"]


@pytest.mark.parametrize(
    ("said", "kind", "advice"),
    [
        ("ERROR: [Errno 28] No space left on device", InvalidInput, "disk is full"),
        ("after connection broken by 'NewConnectionError(", InstallationFailed, "pip.conf"),
        ("error: Failed to fetch: dns error: name resolution", InstallationFailed, "pypi.org"),
        ("ERROR: No matching distribution found for x", InstallationFailed, "exit code 1"),
    ],
)
def test_a_failure_says_what_helps_and_what_pip_said(
    said: str, kind: type[Exception], advice: str
) -> None:
    error = explain(1, [said, "more"], ["the last line"])
    assert type(error) is kind
    assert advice in str(error)
    assert str(error).endswith("the last line")
