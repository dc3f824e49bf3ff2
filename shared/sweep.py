"""A sweep: listed values of some settings become named jobs, under one budget if they are rented.

Pure: from a base spec to the specs of all jobs, and from what some of them have spent to what the
next may spend. Knows neither a store nor a provider.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.clean_text import clean_line
from shared.errors import InvalidJobSpec
from shared.hyperparameters import Hyperparameters
from shared.job_options import (
    JOB_OPTIONS,
    changed_spec,
    parse_setting,
    read_settings,
    setting_of,
    setting_text,
)
from shared.job_spec import JOB_ID_PATTERN, JobSpec

MOST_JOBS = 64
"""Of one sweep: more are a mistake more often than a wish."""
TAG_PREFIX = "sweep:"

_LONGEST_NAME = 100
_LONGEST_ID = 60
"""`-64` still fits behind it."""
_LISTS = {"target_modules"}
"""Settings whose values have commas themselves: theirs are separated by `;`."""
_FIXED = {"resume_from", "force_resume", "dry_run"}
"""Options that make another kind of job, not another value to compare."""
_SHORT_NAMES = {
    "learning_rate": "lr",
    "lora_r": "r",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "num_epochs": "epochs",
    "batch_size": "batch",
    "gradient_accumulation_steps": "accumulation",
    "warmup_ratio": "warmup",
    "weight_decay": "decay",
    "max_seq_length": "length",
    "eval_fraction": "held_out",
    "target_modules": "modules",
}


class Varied(BaseModel):
    """One setting and the values that are tried, as they were typed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    values: Annotated[tuple[str, ...], Field(min_length=1)]


class Sweep(BaseModel):
    """What was asked for; its jobs name it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sweep_id: Annotated[str, Field(pattern=JOB_ID_PATTERN, max_length=_LONGEST_ID)]
    name: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]
    varied: tuple[Varied, ...]
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """Of all jobs together; None on machines that nobody pays for by the hour."""
    created_at: datetime

    def same_work_as(self, other: Sweep) -> bool:
        """True if both ask for the same, so that starting twice changes nothing."""
        return self == other.model_copy(update={"created_at": self.created_at})


def new_sweep(values: dict[str, Any]) -> Sweep:
    """A sweep of these values.

    Raises:
        InvalidJobSpec: one of them is out of its range; the message names it.
    """
    try:
        return Sweep(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        shown = clean_line(str(first.get("input")))
        raise InvalidJobSpec(f"sweep: {name} = {shown!r}: {first['msg']}.") from error


def parse_varied(typed: str) -> Varied:
    """`NAME=VALUE,VALUE`; values that are lists themselves are separated by `;`.

    Raises:
        InvalidJobSpec: no `=`, a setting that there is not or that cannot vary, or no value.
    """
    shown = clean_line(typed)
    if "=" not in typed:
        raise InvalidJobSpec(f"--vary {shown}: write NAME=VALUE,VALUE, as learning_rate=1e-4,2e-4.")
    name, text = parse_setting(typed)
    if name in _FIXED:
        raise InvalidJobSpec(f"--vary {name}: is the same for all jobs of a sweep; --set sets it.")
    parts = text.split(";" if name in _LISTS else ",")
    values = tuple(part.strip() for part in parts if part.strip())
    if not values:
        raise InvalidJobSpec(f"--vary {shown}: names no value.")
    read_settings({name: values[0]})  # Whether there is such a setting.
    return Varied(name=name, values=values)


def combinations_of(varied: Sequence[Varied]) -> list[dict[str, str]]:
    """The grid of all values, the last setting changing fastest.

    Raises:
        InvalidJobSpec: nothing varies, a setting is listed twice, or there are too many.
    """
    names = [each.name for each in varied]
    if not names:
        raise InvalidJobSpec("A sweep varies something: --vary learning_rate=1e-4,2e-4.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidJobSpec(f"--vary {twice}: stands there twice; list all values in one.")
    count = math.prod(len(each.values) for each in varied)
    if count > MOST_JOBS:
        raise InvalidJobSpec(
            f"That is {count:,} jobs; a sweep has at most {MOST_JOBS}. List fewer values."
        )
    grid = itertools.product(*(each.values for each in varied))
    return [dict(zip(names, values, strict=True)) for values in grid]


def expand(base: JobSpec, sweep: Sweep) -> list[JobSpec]:
    """The spec of every job, in order; ids and names follow from the sweep.

    Raises:
        InvalidHyperparameter, InvalidJobSpec: a value out of its range, or two that are one.
    """
    names = [each.name for each in sweep.varied]
    tags = (*base.tags, TAG_PREFIX + sweep.name)
    specs: list[JobSpec] = []
    for number, texts in enumerate(combinations_of(sweep.varied), start=1):
        typed = read_settings(texts)
        changed = changed_spec(base, {**typed.pop("hyperparameters"), **typed})
        values = [setting_of(changed, name) for name in names]
        if values in ([setting_of(spec, name) for name in names] for spec in specs):
            raise InvalidJobSpec(f"{difference_text(changed, names)}: is listed twice.")
        name = _job_name(sweep.name, number, difference_text(changed, names))
        named = {"job_id": f"{sweep.sweep_id}-{number:02}", "name": name, "tags": tags}
        specs.append(changed.model_copy(update=named))
    return specs


def differing_settings(specs: Sequence[JobSpec]) -> list[str]:
    """The hyperparameters and options that are not the same in all of them."""
    names = (*Hyperparameters.model_fields, *JOB_OPTIONS)
    return [
        name
        for name in names
        if any(setting_of(spec, name) != setting_of(specs[0], name) for spec in specs)
    ]


def difference_text(spec: JobSpec, names: Iterable[str]) -> str:
    """`lr=1e-4 r=8`: these settings of the spec, in short."""
    pairs = ((short_name(name), value_text(setting_of(spec, name))) for name in names)
    return " ".join(f"{name}={value}" for name, value in pairs)


def all_settings(spec: JobSpec) -> dict[str, str]:
    """Every hyperparameter and option of the spec, as `value_text` writes it."""
    names = (*Hyperparameters.model_fields, *JOB_OPTIONS)
    return {name: value_text(setting_of(spec, name)) for name in names}


def short_name(name: str) -> str:
    """`lr` for `learning_rate`; a name without a usual short form stays."""
    return _SHORT_NAMES.get(name, name)


def value_text(value: Any) -> str:
    """A setting's value in few characters and without spaces: `1e-4`, `q_proj+v_proj`."""
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    if isinstance(value, float):
        if value == 0 or abs(value) >= 0.01:
            return f"{value:.6g}"
        digits, power = f"{value:.5e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    return setting_text(value).replace(" ", "_")


def _job_name(sweep_name: str, number: int, difference: str) -> str:
    """Cut in the middle where it is too long; the number then tells the jobs apart."""
    name = f"{sweep_name} {difference}"
    if len(name) <= _LONGEST_NAME:
        return name
    end = f" #{number} {difference}"[:60]
    return sweep_name[: _LONGEST_NAME - len(end)] + end


@dataclass(frozen=True, slots=True)
class JobMoney:
    """What one job of a sweep may cost and has cost."""

    spent_usd: float = 0.0
    cap_usd: float | None = None
    """None while it has not begun."""
    is_over: bool = False
    """It has ended, and so have its machines: it spends nothing any more."""

    @property
    def committed_usd(self) -> float:
        """What the others cannot have."""
        if self.is_over or self.cap_usd is None:
            return self.spent_usd
        return max(self.cap_usd, self.spent_usd)


def share_usd(budget_usd: float, jobs: Iterable[JobMoney]) -> float:
    """What each job that has not begun may spend, in whole cents; 0.0 where nothing is left.

    With what the others have spent and may still spend it never comes to more than the budget.
    """
    known = list(jobs)
    waiting = sum(job.cap_usd is None and not job.is_over for job in known)
    left = budget_usd - sum(job.committed_usd for job in known)
    if waiting == 0 or left <= 0:
        return 0.0
    return math.floor(left / waiting * 100 + 1e-9) / 100
