from __future__ import annotations

from shared.upload.progress import Rate, UploadProgress


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    for second in range(60):
        rate.add(second, second * 10)
    for second in range(60, 120):
        rate.add(second, 600 + (second - 60) * 1000)
    assert rate.bytes_per_s == 1000


def test_no_rate_is_told_before_one_is_known() -> None:
    rate = Rate()
    assert rate.bytes_per_s is None
    rate.add(0.0, 0)
    rate.add(0.1, 500)
    assert rate.bytes_per_s is None


def test_going_back_after_a_fault_makes_no_negative_rate() -> None:
    rate = Rate()
    rate.add(0.0, 0)
    rate.add(1.0, 1000)
    rate.add(2.0, 400)
    rate.add(3.0, 900)
    assert rate.bytes_per_s == 500


def test_the_rest_takes_as_long_as_the_rate_says() -> None:
    assert UploadProgress(400, 1000, 100.0).eta_s == 6
    assert UploadProgress(400, 1000, 0.0).eta_s is None
    assert UploadProgress(400, 1000, None).eta_s is None
