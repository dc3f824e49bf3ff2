from __future__ import annotations

from tui.services.controller.settings import ControllerSettings, growing_pause_s
from tui.services.providers.runpod.transport import ANSWER_TIMEOUT_S


def test_a_machine_is_not_called_absent_while_a_request_for_it_may_still_be_at_work() -> None:
    assert ControllerSettings().absence_grace_s > ANSWER_TIMEOUT_S


def test_pauses_double_up_to_the_longest_however_often_it_fails() -> None:
    for failures in (0, 1, 2, 3):
        full_s = 5.0 * 2**failures
        assert full_s / 2 <= growing_pause_s(5.0, failures, 60.0) <= full_s
    for failures in (10, 100, 5000):
        assert 30.0 <= growing_pause_s(5.0, failures, 60.0) <= 60.0
