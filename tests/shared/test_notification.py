from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from shared.errors import InvalidInput
from shared.notification import quiet_hours

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("clock", "holds"),
    [
        ("21:59", False),
        ("22:00", True),
        ("23:59", True),
        ("00:00", True),
        ("06:59", True),
        ("07:00", False),
        ("12:00", False),
    ],
)
def test_quiet_hours_go_over_midnight(clock: str, holds: bool) -> None:
    hours = quiet_hours("22:00-07:00 Europe/Berlin")
    assert hours is not None
    moment = datetime.fromisoformat(f"2026-11-23T{clock}").replace(tzinfo=BERLIN)
    assert hours.holds(moment) is holds
    assert hours.holds(moment.astimezone(ZoneInfo("Asia/Tokyo"))) is holds


def test_quiet_hours_follow_the_clock_of_their_place_in_summer_and_winter() -> None:
    hours = quiet_hours("22:00-07:00 Europe/Berlin")
    assert hours is not None
    summer = datetime(2026, 7, 1, 20, 30, tzinfo=ZoneInfo("UTC"))
    winter = datetime(2026, 12, 1, 20, 30, tzinfo=ZoneInfo("UTC"))
    assert (hours.holds(summer), hours.holds(winter)) == (True, False)


def test_quiet_hours_within_a_day() -> None:
    hours = quiet_hours("9:00-17:30")
    assert hours is not None
    utc = ZoneInfo("UTC")
    at = [datetime(2026, 1, 1, hour, tzinfo=utc) for hour in (8, 9, 17, 18)]
    assert [hours.holds(moment) for moment in at] == [False, True, True, False]
    assert quiet_hours(str(hours)) == hours


def test_no_quiet_hours() -> None:
    assert quiet_hours("") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("22-7 UTC", "22:00-07:00"),
        ("25:00-07:00 UTC", "22:00-07:00"),
        ("22:00-22:00 UTC", "another time"),
        ("22:00-07:00 Mars/Base", "Mars/Base"),
        ("22:00-07:00 ../../etc/passwd", "time zone"),
    ],
)
def test_wrong_quiet_hours_are_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        quiet_hours(text)
