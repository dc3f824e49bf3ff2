"""What `--set NAME=VALUE` can change: every hyperparameter, and some options of the job spec.

The one place that knows these names. Types and ranges are the spec's own; it knows nothing of
commands or screens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from shared.errors import InvalidJobSpec
from shared.hyperparameters import Hyperparameters
from shared.job_spec import CheckpointReference, JobSpec

JOB_OPTIONS = {
    "cut_targets": "Targets that end in mid-sentence: exclude keeps them as context only.",
    "over_long": "Conversations over max_seq_length: refuse the job, or exclude them.",
    "attention": "The attention kernel; auto is the fastest that the machine has.",
    "pack_tokens": "Most tokens of a micro-batch of several conversations; fewer need less memory.",
    "model_cache": "Keep a quantised copy of the base model for the next job; auto: large models "
    "of the hub.",
    "num_gpus": "Replicas, one process each; on a CPU as many processes.",
    "optim": "The optimizer; auto is paged 8-bit AdamW on CUDA and torch's AdamW elsewhere.",
    "max_non_finite_steps": "So many steps in a row with a NaN or infinite loss end the run.",
    "early_stopping_patience": "Evaluations without a better held-out loss that end the run; "
    "none: it always goes to its end.",
    "checkpoint_interval_steps": "Steps between checkpoints; none: as often as their measured "
    "cost stays small.",
    "checkpoints_kept": "How many checkpoints stay on the disk.",
    "disk_floor_bytes": "Free space below which older checkpoints go and no new one is written.",
    "max_restarts": "How often the job is tried again after an interruption.",
    "dry_run": "Only up to the first optimizer step, on ten examples; no adapter.",
    "resume_from": "The checkpoint of an earlier job to begin with; none: the base model.",
    "force_resume": "Go on from a checkpoint even where dataset, template, model or versions "
    "differ.",
}
"""Name -> help line."""

OF_THE_RUN = (*Hyperparameters.model_fields, "cut_targets", "over_long")
"""With another value of one of these, a checkpoint is another run's."""

_NONE = "none"


def parse_setting(setting: str) -> tuple[str, str]:
    """`NAME=VALUE` as name and value.

    Raises:
        InvalidJobSpec: it has no `=`.
    """
    name, equals, value = setting.partition("=")
    if not equals:
        raise InvalidJobSpec(f"--set {setting}: write NAME=VALUE, as in learning_rate=1e-4.")
    return name.strip(), value.strip()


def read_settings(settings: Mapping[str, str]) -> dict[str, Any]:
    """Typed settings as fields of a job spec: options as values, `hyperparameters` as a table.

    Hyperparameters stay text: what they mean depends on the preset that they are laid over.

    Raises:
        InvalidJobSpec: an option outside its range, or a name that is none.
    """
    for name in settings:
        if name not in Hyperparameters.model_fields and name not in JOB_OPTIONS:
            raise InvalidJobSpec(
                f"--set {name}: there is no such setting. "
                f"Hyperparameters are {', '.join(Hyperparameters.model_fields)}; "
                f"job options are {', '.join(JOB_OPTIONS)}."
            )
    options = {
        name: option_value(name, text) for name, text in settings.items() if name in JOB_OPTIONS
    }
    typed = {name: text for name, text in settings.items() if name not in JOB_OPTIONS}
    return {**options, "hyperparameters": typed}


def changed_spec(spec: JobSpec, changes: Mapping[str, Any]) -> JobSpec:
    """`spec` with `changes` laid over it: hyperparameters and fields of the spec, by name.

    Raises:
        InvalidHyperparameter: a value out of its range.
        InvalidJobSpec: so is an option.
    """
    hyperparameters = {
        name: value for name, value in changes.items() if name in Hyperparameters.model_fields
    }
    options = {name: value for name, value in changes.items() if name not in hyperparameters}
    values = {**spec.hyperparameters.model_dump(), **hyperparameters}
    try:
        return JobSpec.model_validate(
            {
                **dict(spec),
                **options,
                "hyperparameters": Hyperparameters.from_values(values, spec.preset),
            }
        )
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise _out_of_range(name, changes.get(name)) from error


def retried_spec(spec: JobSpec, changes: Mapping[str, Any]) -> JobSpec:
    """`changed_spec` for a retry, which is a run of its own.

    A checkpoint that `spec` began with is kept only where it still fits: it does not fit other
    hyperparameters, and the trainer would refuse it.

    Raises:
        InvalidHyperparameter, InvalidJobSpec: as `changed_spec`.
    """
    changed = changed_spec(spec, changes)
    if "resume_from" in changes or changed.force_resume:
        return changed
    differs = any(setting_of(spec, name) != setting_of(changed, name) for name in OF_THE_RUN)
    return changed.model_copy(update={"resume_from": None}) if differs else changed


def changed_settings(before: JobSpec, after: JobSpec) -> list[tuple[str, str, str]]:
    """(name, old value, new value) of everything that `--set` could have changed."""
    names = (*Hyperparameters.model_fields, *JOB_OPTIONS)
    pairs = ((name, setting_of(before, name), setting_of(after, name)) for name in names)
    return [(name, setting_text(old), setting_text(new)) for name, old, new in pairs if old != new]


def unusual_options(spec: JobSpec) -> list[tuple[str, str]]:
    """(name, value) of each option that is not as usual."""
    return [
        (name, setting_text(getattr(spec, name)))
        for name in JOB_OPTIONS
        if getattr(spec, name) != usual_option(name)
    ]


def usual_option(name: str) -> Any:
    """The value of an option that nobody has chosen."""
    return JobSpec.model_fields[name].default


def setting_of(spec: JobSpec, name: str) -> Any:
    """The value of a hyperparameter or an option."""
    return getattr(spec.hyperparameters if name in Hyperparameters.model_fields else spec, name)


def setting_text(value: Any) -> str:
    """A value as one would type it; read back it is the same, unless it is a checkpoint."""
    if value is None:
        return _NONE
    if isinstance(value, CheckpointReference):
        return f"step {value.step} of {value.job_id}"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def option_value(name: str, text: str) -> Any:
    """The value that `text` spells; `none` is None where that means something.

    Raises:
        InvalidJobSpec: it spells none that is allowed.
    """
    field = JobSpec.model_fields[name]
    annotated: Any = Annotated
    adapter = TypeAdapter(annotated[(field.annotation, *field.metadata, None)])
    try:
        return adapter.validate_python(None if text.lower() == _NONE else text)
    except ValidationError as error:
        raise _out_of_range(name, text) from error


def option_range(name: str) -> str:
    """The option's type and range in words: `a whole number at least 1, at most 100, or none`."""
    schema = JobSpec.model_json_schema()["properties"][name]
    return " or ".join(dict.fromkeys(map(_alternative, schema.get("anyOf", [schema]))))


def _alternative(schema: Mapping[str, Any]) -> str:
    """One of the types that a value may have, in words."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    match schema.get("type"):
        case "boolean":
            return "true or false"
        case "null":
            return _NONE
        case "integer":
            bounds = {"minimum": "at least", "maximum": "at most"}
            words = [f"{word} {schema[key]}" for key, word in bounds.items() if key in schema]
            return f"a whole number {', '.join(words)}".rstrip()
        case _:
            return _NONE


def _out_of_range(name: str, value: object) -> InvalidJobSpec:
    return InvalidJobSpec(
        f"{name} = {value!r} is out of range: it must be {option_range(name)}. "
        f"{JOB_OPTIONS.get(name, '')}".rstrip()
    )
