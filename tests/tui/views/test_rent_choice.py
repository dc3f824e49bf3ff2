from __future__ import annotations

from dataclasses import replace

from tests.tui.services.rental_work import offer, work
from tui.services.rent_options import options_of
from tui.services.rent_plan import RentPlan, RentWanted
from tui.views.rent_choice import RentChoice

A, B, C = "H100_PCIE", "H100_SXM", "A100_80GB"


def plan(*gpu_types: str) -> RentPlan:
    job = work()
    offers = [offer(name, 2.0) for name in gpu_types]
    return RentPlan(RentWanted(budget_usd=20), job, tuple(options_of(offers, job)))


def tried(choice: RentChoice) -> list[str]:
    return [option.candidate.gpu_type for option in choice.chosen]


def key(choice: RentChoice, gpu_type: str) -> str:
    return next(key for key in choice.order if key.startswith(gpu_type))


def test_a_machine_moves_one_place_and_stops_at_the_ends() -> None:
    choice = RentChoice.of(plan(A, B, C))
    assert tried(choice.moved(key(choice, C), -1)) == [A, C, B]
    assert tried(choice.moved(key(choice, A), -1)) == [A, B, C]
    assert tried(choice.moved(key(choice, C), 1)) == [A, B, C]


def test_a_machine_is_switched_off_and_on_again() -> None:
    choice = RentChoice.of(plan(A, B))
    off = choice.switched(key(choice, A))
    assert tried(off) == [B]
    assert tried(off.switched(key(choice, A))) == [A, B]
    assert [each.candidate.gpu_type for each in off.chosen_plan.options] == [B]


def test_another_look_keeps_the_order_of_hand_and_puts_what_is_new_at_the_end() -> None:
    first = RentChoice.of(plan(A, B))
    moved = first.moved(key(first, B), -1)
    assert tried(RentChoice.of(plan(A, B, C), moved)) == [B, A, C]
    assert tried(RentChoice.of(plan(A, C), moved)) == [A, C]


def test_an_order_that_nobody_touched_follows_the_plan() -> None:
    first = RentChoice.of(plan(A, B))
    off = first.switched(key(first, A))
    assert tried(RentChoice.of(plan(B, A), first)) == [B, A]
    assert tried(RentChoice.of(plan(B, A), off)) == [B]


def test_prices_of_the_latest_look_are_what_is_agreed_to() -> None:
    first = RentChoice.of(plan(A))
    dearer = plan(A)
    option = dearer.options[0]
    candidate = option.candidate.model_copy(update={"usd_per_hour": 9.0})
    dearer = replace(dearer, options=(replace(option, candidate=candidate),))
    [chosen] = RentChoice.of(dearer, first).chosen
    assert chosen.candidate.usd_per_hour == 9.0
