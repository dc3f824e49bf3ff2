"""Which machines are tried in which order, once the user has had a hand in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from tui.services.rent_options import RentOption
from tui.services.rent_plan import RentPlan


def key_of(option: RentOption) -> str:
    """The same machine in another look at the catalogue has the same key."""
    return option.candidate.label


@dataclass(frozen=True)
class RentChoice:
    """A plan, and what the user made of its order."""

    plan: RentPlan
    order: tuple[str, ...]
    """Keys, in the order in which they are tried."""
    off: frozenset[str] = frozenset()
    """Keys of those that are not tried."""

    @classmethod
    def of(cls, plan: RentPlan, before: RentChoice | None = None) -> RentChoice:
        """The plan's own order, or that of an earlier look with what is new at the end."""
        keys = [key_of(option) for option in plan.options]
        if before is None or before.is_untouched:
            return cls(plan, tuple(keys), frozenset() if before is None else before.off)
        kept = [key for key in before.order if key in keys]
        return cls(plan, (*kept, *(key for key in keys if key not in kept)), before.off)

    @property
    def is_untouched(self) -> bool:
        """True while the order is the plan's own."""
        return self.order == tuple(key_of(option) for option in self.plan.options)

    @property
    def options(self) -> list[RentOption]:
        """All that may be tried, in order."""
        known = {key_of(option): option for option in self.plan.options}
        return [known[key] for key in self.order]

    @property
    def chosen(self) -> list[RentOption]:
        """Those that are tried, in order."""
        return [option for option in self.options if key_of(option) not in self.off]

    @property
    def chosen_plan(self) -> RentPlan:
        """The plan with only those that are tried; for a choice that is not empty."""
        return replace(self.plan, options=tuple(self.chosen))

    def moved(self, key: str, by: int) -> Self:
        """One place up (-1) or down (1); nothing happens at the ends."""
        order = list(self.order)
        at = order.index(key)
        to = min(max(at + by, 0), len(order) - 1)
        order.insert(to, order.pop(at))
        return replace(self, order=tuple(order))

    def switched(self, key: str) -> Self:
        """Tried where it was not, and the other way round."""
        return replace(self, off=self.off ^ {key})
