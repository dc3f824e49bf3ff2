"""Two minutes of everything that can go wrong with rented machines, at random moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.remote.remote_box import needs_a_box

SOAK = Path(__file__).parents[2] / "scripts" / "soak.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_a_box
def test_two_minutes_of_faults_leave_every_invariant_standing() -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK), "--seed", "7", "--minutes", "2"],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "The invariants I1 to I5 hold for every job." in done.stdout
