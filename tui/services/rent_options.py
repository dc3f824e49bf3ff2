"""Which machines a job may be rented, in which order, and why the others are left out.

Arithmetic on what a provider's catalogue said; knows no provider and no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.forecast.forecast import Forecast
from shared.forecast.past import NO_PAST, Past
from shared.job_spec import JobSpec
from shared.machine_request import Candidate, Cloud, Stock
from shared.memory.cards import CARDS, Fit
from shared.money.reserve import LARGEST_RESERVE_SHARE, RESERVE_HOURS
from tui.services.estimate import Volume, forecast_on_offer
from tui.services.memory_check import Prediction, Room, predict
from tui.services.model_shapes import FoundShape
from tui.services.training_plan import TrainingPlan

START_UP_HOURS = 0.25
"""The least that is paid for, whatever the forecast says, and all that is certain where it says
nothing: the controller rents no machine for less."""


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """What the machine is for."""

    spec: JobSpec
    found: FoundShape
    plan: TrainingPlan
    past: Past = NO_PAST
    """What earlier jobs took."""
    taken_bytes: Mapping[str, int] = field(default_factory=dict)
    """What other base models are known to take of a network volume, by its id."""


@dataclass(frozen=True, slots=True)
class RentOption:
    """One machine that may be tried, with what is predicted for the job on it."""

    candidate: Candidate
    memory: Prediction
    forecast: Forecast

    @property
    def hours(self) -> tuple[float, float] | None:
        """Paid hours, least and most, of all parts; None where the time is unknown."""
        hours = self.forecast.hours
        return None if hours is None else (hours.best, hours.worst)

    @property
    def cost_usd(self) -> tuple[float, float] | None:
        """Least and most, without interruptions; None where the time is unknown."""
        cost = self.forecast.cost_usd
        return None if cost is None else (cost.best, cost.worst)

    @property
    def least_usd(self) -> float:
        """Below that it cannot be done: the shortest time, or the start-up alone."""
        machine = self.forecast.machine_usd
        start_up_usd = START_UP_HOURS * self.candidate.usd_per_hour
        return start_up_usd if machine is None else max(machine.best, start_up_usd)

    @property
    def least_budget_usd(self) -> float:
        """A smaller budget would not do: part of it is kept back for bringing the adapter home."""
        reserve_usd = RESERVE_HOURS * self.candidate.usd_per_hour
        return min(self.least_usd + reserve_usd, self.least_usd / (1 - LARGEST_RESERVE_SHARE))

    @property
    def is_too_small(self) -> bool:
        """The prediction says that the job does not fit into the GPU."""
        return self.memory.need is not None and self.memory.need.is_refused

    @property
    def is_tight(self) -> bool:
        return self.memory.need is not None and self.memory.need.fit is Fit.TIGHT


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An offer that is not tried, and why."""

    option: RentOption
    reason: str


def gpu_types_that_fit(work: TrainingWork, known: Iterable[str]) -> list[str]:
    """Of the known types, those with enough memory by the prediction; none where that is unknown.

    What is only just enough is for the user to ask for.
    """
    return [name for name in known if _is_roomy(prediction_on(name, work))]


def prediction_on(gpu_type: str, work: TrainingWork) -> Prediction:
    """The memory that the job needs on one GPU of this type."""
    room = Room(gpu_type, CARDS[gpu_type].memory_bytes)
    return predict(work.spec, work.found, work.plan, room)


def options_of(
    offers: Iterable[Candidate], work: TrainingWork, volume: Volume | None = None
) -> list[RentOption]:
    """Each offer with what is predicted for the job there, with this network volume."""
    memory: dict[str, Prediction] = {}
    options = []
    for offer in offers:
        if offer.gpu_type not in memory:
            memory[offer.gpu_type] = prediction_on(offer.gpu_type, work)
        options.append(_option(offer, work, memory[offer.gpu_type], volume))
    return options


def anywhere(offers: Iterable[Candidate]) -> list[Candidate]:
    """One offer for each GPU type and cloud, with the best stock: the place does not matter."""
    best: dict[tuple[str, Cloud], Candidate] = {}
    for offer in offers:
        other = best.setdefault((offer.gpu_type, offer.cloud), offer)
        if (-offer.stock.rank, offer.usd_per_hour) < (-other.stock.rank, other.usd_per_hour):
            best[offer.gpu_type, offer.cloud] = offer
    return [offer.model_copy(update={"data_center": None}) for offer in best.values()]


def in_places(offers: Iterable[Candidate], places: Iterable[str]) -> list[Candidate]:
    """Those in these data centres, and as sold out what the catalogue names only elsewhere.

    A catalogue lists the places that have something; a volume's place is waited for all the same.
    """
    offers, places = list(offers), sorted(places)
    there = [offer for offer in offers if offer.data_center in places]
    named = {(offer.gpu_type, offer.cloud, offer.data_center) for offer in there}
    sold_out = [
        offer.model_copy(update={"data_center": place, "stock": Stock.NONE})
        for offer in anywhere(offers)
        for place in places
        if (offer.gpu_type, offer.cloud, place) not in named
    ]
    return [*there, *sold_out]


def in_fallback_order(
    options: Iterable[RentOption], gpu_order: Sequence[str] = ()
) -> list[RentOption]:
    """In the user's order of GPU types, else the cheapest type first and sold out ones last.

    Within a type the best stock comes first, then the lower price, then the secure cloud.
    """
    options = list(options)
    ranks = {name: rank for rank, name in enumerate(gpu_order or _by_price(options))}
    return sorted(options, key=lambda option: (ranks[option.candidate.gpu_type], *_within(option)))


def judge_options(
    options: Iterable[RentOption], budget_usd: float | None, *, ignore_memory: bool = False
) -> tuple[list[RentOption], list[LeftOut]]:
    """Those that may be tried, and those that may not; without a budget none is too dear."""
    kept: list[RentOption] = []
    left_out: list[LeftOut] = []
    for option in options:
        if option.is_too_small and not ignore_memory:
            assert option.memory.need is not None
            left_out.append(LeftOut(option, f"needs {option.memory.need.in_words}: too much"))
        elif budget_usd is not None and option.least_budget_usd > budget_usd:
            words = f"needs ${option.least_budget_usd:,.2f} at least, of ${budget_usd:,.2f}"
            left_out.append(LeftOut(option, words))
        else:
            kept.append(option)
    return kept, left_out


def stock_words(options: Iterable[RentOption]) -> str:
    """`H100_PCIE secure US-KS-2: none; ...`, for when there is nothing."""
    return "; ".join(f"{each.candidate.label}: {each.candidate.stock}" for each in options)


def _is_roomy(prediction: Prediction) -> bool:
    return prediction.need is not None and prediction.need.fit is Fit.FITS


def _option(
    offer: Candidate, work: TrainingWork, memory: Prediction, volume: Volume | None
) -> RentOption:
    spec, plan, shape = work.spec, work.plan, work.found.shape
    foreseen = forecast_on_offer(spec, plan, shape, memory, offer, work.past, volume)
    return RentOption(offer, memory, foreseen)


def _by_price(options: Iterable[RentOption]) -> list[str]:
    cheapest: dict[str, tuple[bool, float]] = {}
    for option in options:
        offer = option.candidate
        price = (offer.stock is Stock.NONE, offer.usd_per_hour)
        cheapest[offer.gpu_type] = min(price, cheapest.get(offer.gpu_type, price))
    return sorted(cheapest, key=lambda name: (cheapest[name], name))


def _within(option: RentOption) -> tuple[int, float, bool, str]:
    offer = option.candidate
    return (
        -offer.stock.rank,
        offer.usd_per_hour,
        offer.cloud is Cloud.COMMUNITY,
        offer.data_center or "",
    )
