from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deployment import MOVES, DeploymentStatus
from shared.errors import InvalidInput
from shared.model_version import (
    LONGEST_MODEL_NAME,
    ModelVersion,
    VersionFacts,
    checked_model_name,
    checked_reason,
    model_name_of,
    parse_reference,
    production_gate,
    version_id,
    why_not,
    why_not_deleted,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STORED, TESTING = DeploymentStatus.STORED, DeploymentStatus.TESTING
PRODUCTION, ARCHIVED = DeploymentStatus.PRODUCTION, DeploymentStatus.ARCHIVED


def version(status: DeploymentStatus = STORED, deleted_at: datetime | None = None) -> ModelVersion:
    return ModelVersion(
        "id", "empathy", 3, "job", 1, "a" * 64, status, VersionFacts(), NOW, deleted_at
    )


def test_every_status_has_a_row_in_the_table_of_moves() -> None:
    assert set(MOVES) == set(DeploymentStatus)
    assert all(status not in allowed for status, allowed in MOVES.items())


def test_nothing_comes_into_production_but_what_is_in_testing() -> None:
    assert [status for status in MOVES if PRODUCTION in MOVES[status]] == [TESTING]


def test_every_status_is_reached_from_stored_and_archived_leads_back_to_it() -> None:
    seen, open_ones = {STORED}, [STORED]
    while open_ones:
        fresh = MOVES[open_ones.pop()] - seen
        seen |= fresh
        open_ones.extend(fresh)
    assert seen == set(DeploymentStatus)
    assert MOVES[ARCHIVED] == {STORED}


@given(st.lists(st.sampled_from(DeploymentStatus), max_size=12))
def test_no_sequence_of_moves_brings_a_version_into_production_or_past_the_table(
    wishes: list[DeploymentStatus],
) -> None:
    current = version()
    for wish in wishes:
        if why_not(current, wish):
            assert wish not in MOVES[current.status] or wish is PRODUCTION
            continue
        assert wish in MOVES[current.status]
        current = replace(current, status=wish)
        assert current.status is not PRODUCTION


def test_production_is_closed_and_the_message_says_why_and_what_then() -> None:
    refusal = why_not(version(TESTING), PRODUCTION)
    assert refusal == production_gate(version(TESTING))
    assert "empathy:3: production is closed" in refusal
    assert "evaluation" in refusal


def test_a_move_that_is_not_in_the_table_is_refused_with_those_that_are() -> None:
    assert "can become archived, testing" in why_not(version(), PRODUCTION)
    assert "is testing already" in why_not(version(TESTING), TESTING)


@pytest.mark.parametrize("to", DeploymentStatus)
def test_a_deleted_version_is_never_moved(to: DeploymentStatus) -> None:
    assert "was deleted" in why_not(version(ARCHIVED, deleted_at=NOW), to)


def test_only_a_version_in_production_cannot_be_deleted() -> None:
    refused = [status for status in DeploymentStatus if why_not_deleted(version(status))]
    assert refused == [PRODUCTION]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Elena Morales, empathy v4", "elena-morales-empathy-v4"),
        ("Grid lr=1e-4", "grid-lr-1e-4"),
        ("  ÄRGER: zwei  ", "ärger-zwei"),
        ("../../etc", "etc"),
        ("???", "model"),
        ("\x1b[31mred\x1b[0m", "red"),
    ],
)
def test_a_job_name_becomes_a_name_that_can_be_typed(text: str, name: str) -> None:
    assert model_name_of(text) == name


@given(st.text())
def test_a_model_name_is_never_empty_and_names_itself(text: str) -> None:
    name = model_name_of(text)
    assert 0 < len(name) <= LONGEST_MODEL_NAME
    assert not set(name) & set(":/\\ \n\t'\"$`*?")
    assert model_name_of(name) == name
    assert checked_model_name(name) == name


def test_a_name_as_typed_is_refused_with_one_that_would_do() -> None:
    with pytest.raises(InvalidInput, match="such as our-best-one"):
        checked_model_name("our best one!")
    with pytest.raises(InvalidInput, match="model name ''"):
        checked_model_name("  ")


def test_a_reference_names_a_version_or_the_newest() -> None:
    assert parse_reference("empathy:3") == ("empathy", 3)
    assert parse_reference("empathy:v3") == ("empathy", 3)
    assert parse_reference("Empathy") == ("empathy", None)
    for typed in ("", "empathy:", "empathy:x", "a:b:1", ":3", "empathy:9999999999"):
        with pytest.raises(InvalidInput, match="empathy:3"):
            parse_reference(typed)


def test_a_reason_has_to_be_there_and_is_one_line() -> None:
    assert checked_reason(" it is\nbetter ") == "it is better"
    with pytest.raises(InvalidInput, match="Say why"):
        checked_reason(" \n")
    with pytest.raises(InvalidInput, match="3,000 characters"):
        checked_reason("x" * 3000)


def test_an_attempt_of_a_job_has_the_same_id_everywhere() -> None:
    web_job = "0b9f6a53-37c9-5ae5-8a34-9a9b7c1c3b77"
    assert version_id(web_job, 1) == "25cb3418-9fa1-5f6a-9200-516fe3e25f8f"
    assert len({version_id(web_job, attempt) for attempt in range(1, 50)}) == 49


def test_facts_of_a_later_version_are_read_as_far_as_they_are_known() -> None:
    facts = VersionFacts.model_validate({"job_name": "x", "of_the_future": [1], "loss": None})
    assert facts == VersionFacts(job_name="x")
