"""A new job while it is being typed: texts, some of them wrong, none of them lost.

A draft becomes a `JobSpec` only when every text holds; until then each wrong one has a sentence
that says what is allowed. It knows neither a screen nor a file system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal, Self

from shared.clean_text import clean_line
from shared.errors import InvalidHyperparameter, InvalidInput, InvalidJobSpec
from shared.hyperparameters import Hyperparameters, Preset, allowed_range
from shared.job_options import (
    changed_settings,
    option_range,
    option_value,
    retried_spec,
    setting_text,
    unusual_options,
)
from shared.job_spec import JobSpec
from shared.store.stored import StoredJob
from tui.services.hosts.names import LOCAL, checked_host_name, shown_host

CUT_TARGETS = ("exclude", "train")
OVER_LONG = ("refuse", "exclude")

_SHORTEST_NAME, _LONGEST_NAME = 3, 100

_BEGINNINGS = ("resume_from", "force_resume")

OPTIONS_ON_THE_FORM = ("num_gpus", "early_stopping_patience")
"""Options of the job that are typed as text; the rest is for `brightrun start --set`."""

_COUNTED = (
    "num_epochs",
    "batch_size",
    "gradient_accumulation_steps",
    "max_seq_length",
    "eval_fraction",
    "seed",
)
"""The hyperparameters on which the number of steps depends."""


@dataclass(frozen=True)
class JobDraft:
    """What was typed so far."""

    dataset: str = ""
    name: str = ""
    """Empty: the training file's name, as with `brightrun start`."""
    base_model: str = "tiny"
    revision: str = ""
    preset: Preset = Preset.BALANCED
    host: str = LOCAL
    """As typed; `host_name` is what the store keeps."""
    notes: str = ""
    tags: str = ""
    """Separated by commas."""
    cut_targets: Literal["exclude", "train"] = "exclude"
    over_long: Literal["refuse", "exclude"] = "refuse"
    dry_run: bool = False
    num_gpus: str = "1"
    early_stopping_patience: str = "none"
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    """Only those that were changed by hand; they stay when the preset changes."""
    carried: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the job this one was made from that have no place on the form."""
    retry_of: str | None = None
    """The ended job that this one repeats with changes."""
    changes: str = ""
    """These changes, in words."""

    @classmethod
    def of_spec(cls, spec: JobSpec, path: Path, host: str = LOCAL) -> Self:
        """A new job like `spec`, on the training file at `path`."""
        preset_values = Hyperparameters.from_values({}, spec.preset)
        values = spec.hyperparameters
        elsewhere = {*cls.__dataclass_fields__, *_BEGINNINGS}
        return cls(
            dataset=str(path),
            name=spec.name,
            base_model=spec.base_model,
            revision=spec.base_model_revision or "",
            preset=spec.preset,
            host=shown_host(host),
            notes=spec.notes,
            tags=", ".join(spec.tags),
            cut_targets=spec.cut_targets,
            over_long=spec.over_long,
            dry_run=spec.dry_run,
            num_gpus=setting_text(spec.num_gpus),
            early_stopping_patience=setting_text(spec.early_stopping_patience),
            hyperparameters={
                name: text_of(getattr(values, name))
                for name in Hyperparameters.model_fields
                if getattr(values, name) != getattr(preset_values, name)
            },
            carried={
                name: getattr(spec, name)
                for name, _ in unusual_options(spec)
                if name not in elsewhere
            },
        )

    @classmethod
    def changed(cls, job: StoredJob, path: Path, changes: Mapping[str, Any]) -> Self:
        """A retry of `job` with changes: hyperparameters and fields of the spec."""
        spec = retried_spec(job.spec, changes)
        draft = cls.of_spec(spec, path, job.host)
        begins = {name: getattr(spec, name) for name in _BEGINNINGS}
        changed = changed_settings(job.spec, spec)
        return replace(
            draft,
            carried={**draft.carried, **begins},
            retry_of=job.job_id,
            changes=", ".join(f"{name} {before} → {after}" for name, before, after in changed),
        )

    @property
    def job_name(self) -> str:
        """The name that the job will have."""
        typed = clean_line(self.name)
        if typed or not self.dataset.strip():
            return typed
        stem = clean_line(PurePath(self.dataset.strip()).stem)
        return stem[:_LONGEST_NAME].ljust(_SHORTEST_NAME, "-")

    @property
    def host_name(self) -> str:
        """Where the job will run; what was typed while it names no host."""
        typed = self.host.strip()
        try:
            return checked_host_name(typed)
        except InvalidInput:
            return typed

    def hyperparameter(self, name: str) -> str:
        """The text in force: typed by hand, or the preset's."""
        typed = self.hyperparameters.get(name)
        return preset_text(name, self.preset) if typed is None else typed

    def differs_from_preset(self, name: str) -> bool:
        """True for a value that is not the preset's, and for one that is none."""
        if name not in self.hyperparameters:
            return False
        value = _value_of(name, self.hyperparameters[name])
        return value is None or value != _preset_value(name, self.preset)

    def with_hyperparameter(self, name: str, text: str) -> Self:
        """The draft once `text` was typed; typing the preset's value is going back to it."""
        typed = replace(self, hyperparameters={**self.hyperparameters, name: text})
        return typed if typed.differs_from_preset(name) else self.without_hyperparameter(name)

    def without_hyperparameter(self, name: str) -> Self:
        """The draft with this one back at the preset's value."""
        left = {key: text for key, text in self.hyperparameters.items() if key != name}
        return replace(self, hyperparameters=left)

    def problems(self) -> dict[str, str]:
        """For each field that is wrong, a sentence that says what it must be."""
        found = {
            "dataset": "" if self.dataset.strip() else "choose a training file.",
            "name": name_problem(self.job_name) if self.job_name else "",
            "base_model": base_model_problem(self.base_model),
            "host": host_problem(self.host),
            **{name: option_problem(name, text) for name, text in self._options().items()},
            **{name: value_problem(name, text) for name, text in self.hyperparameters.items()},
        }
        return {name: problem for name, problem in found.items() if problem}

    def values(self) -> dict[str, Any]:
        """What `build_job_spec` takes; for a draft without problems."""
        tags = map(clean_line, self.tags.split(","))
        return {
            "name": self.job_name,
            "notes": self.notes.strip(),
            "tags": tuple(dict.fromkeys(filter(None, tags))),
            "base_model": self.base_model.strip(),
            "base_model_revision": self.revision.strip() or None,
            "preset": self.preset,
            "cut_targets": self.cut_targets,
            "over_long": self.over_long,
            "dry_run": self.dry_run,
            **{name: option_value(name, text) for name, text in self._options().items()},
            "hyperparameters": dict(self.hyperparameters),
            **self.carried,
        }

    def _options(self) -> dict[str, str]:
        return {name: getattr(self, name).strip() for name in OPTIONS_ON_THE_FORM}

    def max_seq_length(self) -> int | None:
        """None while what was typed is no length."""
        value = _value_of("max_seq_length", self.hyperparameter("max_seq_length"))
        return value if isinstance(value, int) else None

    def countable_hyperparameters(self) -> Hyperparameters | None:
        """Enough of them to count steps; None while one that matters for that is wrong."""
        counted = {name: self.hyperparameter(name) for name in _COUNTED}
        if any(value_problem(name, text) for name, text in counted.items()):
            return None
        return Hyperparameters.from_values(counted, self.preset)


def name_problem(name: str) -> str:
    """What is wrong with a job's name; empty if nothing is."""
    if _SHORTEST_NAME <= len(clean_line(name)) <= _LONGEST_NAME:
        return ""
    return f"must have {_SHORTEST_NAME} to {_LONGEST_NAME} characters."


def base_model_problem(base_model: str) -> str:
    """What is wrong with a base model's name; empty if nothing is."""
    return "" if base_model.strip() else "must be tiny, smollm2, a directory, or a hub model id."


def host_problem(host: str) -> str:
    """What is wrong with a host's name; empty if nothing is."""
    try:
        checked_host_name(host.strip())
    except InvalidInput as error:
        return str(error).removeprefix(f"host {clean_line(host)!r}: ")
    return ""


def value_problem(name: str, text: str) -> str:
    """What a hyperparameter must be, if `text` is not that; else empty."""
    try:
        Hyperparameters.from_values({name: text})
    except InvalidHyperparameter as error:
        return f"must be {error.allowed}."
    return ""


def option_problem(name: str, text: str) -> str:
    """What an option must be, if `text` is not that; else empty."""
    try:
        option_value(name, text)
    except InvalidJobSpec:
        return f"must be {option_range(name)}."
    return ""


def preset_text(name: str, preset: Preset) -> str:
    """The preset's value, as one would type it."""
    return text_of(_preset_value(name, preset))


def text_of(value: Any) -> str:
    """A hyperparameter's value as one would type it; reading it back gives the same value."""
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def short_range(name: str) -> str:
    """The allowed values for a narrow column: `1 … 100`, `> 0, < 1`, `1 … 64 or none`."""
    words = allowed_range(name) if name in Hyperparameters.model_fields else option_range(name)
    words, *others = words.split(" or ")
    return " or ".join([_short(words), *others])


def _short(words: str) -> str:
    words = words.removeprefix("a whole number ").removeprefix("a number ")
    for word, sign in (("at least", "≥"), ("at most", "≤"), ("above", ">"), ("below", "<")):
        words = words.replace(word, sign)
    bounds = [bound.split(" ", 1) for bound in words.split(", ")]
    if [sign for sign, *_ in bounds] == ["≥", "≤"]:
        return f"{bounds[0][1]} … {bounds[1][1]}"
    return words


def _preset_value(name: str, preset: Preset) -> Any:
    return getattr(Hyperparameters.from_values({}, preset), name)


def _value_of(name: str, text: str) -> Any:
    """The value that `text` spells; None if it spells none."""
    try:
        return getattr(Hyperparameters.from_values({name: text}), name)
    except InvalidHyperparameter:
        return None
