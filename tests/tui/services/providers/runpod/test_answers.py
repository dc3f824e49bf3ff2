"""What RunPod's answers mean."""

from __future__ import annotations

import pytest

from shared.errors import (
    AmbiguousAnswer,
    InsufficientBalance,
    NoCapacity,
    ProviderError,
    ProviderRefused,
    ProviderUnauthorized,
    ProviderUnreachable,
)
from tui.services.providers.runpod.answers import (
    CAPACITY_PHRASES,
    NotThere,
    Refusal,
    Request,
    error_of,
    never_sent,
    unsure,
)

QUESTION = Request("GET", "/v2/pods")
ORDER = Request("POST", "/v2/pods", orders_pod=True)
END = Request("DELETE", "/v2/pods/p1")
VOLUME = Request("POST", "/v2/network-volumes")


@pytest.mark.parametrize("request_", [QUESTION, ORDER, END, VOLUME], ids=str)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ProviderUnauthorized),
        (402, InsufficientBalance),
        (403, ProviderUnauthorized),
        (404, NotThere),
        (409, ProviderRefused),
        (422, ProviderRefused),
        (429, ProviderUnreachable),
        (302, ProviderRefused),
    ],
)
def test_some_answers_mean_the_same_for_every_request(
    request_: Request, status: int, kind: type[ProviderError]
) -> None:
    assert type(error_of(request_, Refusal(status, "words"))) is kind


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_failing_server_leaves_a_question_open_and_a_change_in_doubt(status: int) -> None:
    assert type(error_of(QUESTION, Refusal(status))) is ProviderUnreachable
    for change in (ORDER, END, VOLUME):
        assert type(error_of(change, Refusal(status))) is AmbiguousAnswer


@pytest.mark.parametrize(
    "prose",
    [
        "There are no longer any instances available with the requested specifications.",
        "This machine does not have the resources to deploy your pod.",
        "GPU type is not available in data center US-KS-2",
        "something that nobody has seen before",
        "",
        *CAPACITY_PHRASES,
    ],
)
def test_a_pod_that_is_refused_without_a_known_rule_counts_as_sold_out(prose: str) -> None:
    error = error_of(ORDER, Refusal(400, prose))

    assert type(error) is NoCapacity
    assert prose.rstrip(".") in str(error)


@pytest.mark.parametrize(
    "prose",
    ["disk must be at least 5", "allowedCudaVersions and minCudaVersion are mutually exclusive"],
)
def test_a_broken_rule_is_refused_for_good(prose: str) -> None:
    assert type(error_of(ORDER, Refusal(400, prose))) is ProviderRefused


def test_a_bad_request_that_orders_no_pod_is_never_a_matter_of_stock() -> None:
    assert type(error_of(VOLUME, Refusal(400, "not available"))) is ProviderRefused


def test_prose_about_money_is_about_money() -> None:
    prose = "Your balance is too low to rent this pod"

    assert type(error_of(ORDER, Refusal(400, prose))) is InsufficientBalance


def test_the_wait_that_the_provider_asks_for_is_handed_on() -> None:
    error = error_of(QUESTION, Refusal(429, "slow down", retry_after_s=12.0))

    assert isinstance(error, ProviderUnreachable)
    assert error.retry_after_s == 12.0


def test_the_words_and_the_fields_are_shown_cleaned_and_bounded() -> None:
    refusal = Refusal(422, "Request \x1b[31mvalidation failed", ["$: 'bogus' not allowed" * 100])

    message = str(error_of(ORDER, refusal))

    assert "POST /v2/pods: 422 Request validation failed $: 'bogus' not allowed" in message
    assert "\x1b" not in message
    assert len(message) < 600


def test_a_request_that_was_never_sent_changed_nothing() -> None:
    assert type(never_sent(ORDER, "refused")) is ProviderUnreachable


def test_a_request_without_an_answer_is_in_doubt_only_if_it_changes_something() -> None:
    assert type(unsure(ORDER, "timeout")) is AmbiguousAnswer
    assert type(unsure(QUESTION, "timeout")) is ProviderUnreachable
