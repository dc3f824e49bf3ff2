from __future__ import annotations

from uuid import UUID

from shared.web_id import web_job_id


def test_a_job_has_one_uuid_and_no_other_job_has_it() -> None:
    ids = {web_job_id(mark, job) for mark in ("aaaa", "bbbb") for job in ("job-one", "job-two")}

    assert len(ids) == 4
    assert all(str(UUID(each)) == each for each in ids)
    assert web_job_id("aaaa", "job-one") in ids


def test_a_job_that_is_named_by_a_uuid_keeps_it() -> None:
    named = "0b0f4a51-7a0d-4a7e-9a39-0d6c1c5f4a10"

    assert web_job_id("aaaa", named) == named


def test_a_uuid_in_another_spelling_is_an_id_like_any_other() -> None:
    spelled = "0b0f4a517a0d4a7e9a390d6c1c5f4a10"

    assert web_job_id("aaaa", spelled) != spelled
    assert web_job_id("aaaa", spelled) != web_job_id("bbbb", spelled)
