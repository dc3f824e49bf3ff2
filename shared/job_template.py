"""A template: settings of a job without its training file, to begin other jobs with.

What is kept is what somebody wanted, as typed, and not what was made of it: hyperparameters that
differ from the preset, options that are not as usual, and of a machine to rent the wishes, and not
candidates with the prices of that day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.hyperparameters import Hyperparameters, Preset
from shared.job_options import JOB_OPTIONS, option_value, setting_of, setting_text, unusual_options
from shared.job_spec import JobSpec
from shared.machine_request import AfterInterruptions, Cloud, MachineRequest

_OF_ONE_JOB = ("resume_from", "force_resume")
"""Options that name a checkpoint of another job: no template for others."""


class MachineWishes(BaseModel):
    """What was wanted of a machine; None and nothing where it was left open."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget_usd: Annotated[float, Field(gt=0)] | None = None
    gpu_types: tuple[str, ...] = ()
    """In the order in which they are tried."""
    gpu_count: Annotated[int, Field(ge=1, le=8)] | None = None
    clouds: tuple[Cloud, ...] = (Cloud.SECURE,)
    data_centers: tuple[str, ...] = ()
    volume: str | None = None
    """Id or name of a network volume, `new` or `new:GB`."""
    max_duration_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    image: str | None = None
    """None: the usual one, here and below."""
    registry: str | None = None
    start_script: str | None = None
    mount_path: str | None = None
    container_disk_gb: Annotated[int, Field(ge=10, le=2000)] | None = None
    max_interruptions: Annotated[int, Field(ge=0, le=20)] = 3
    after_interruptions: AfterInterruptions = AfterInterruptions.ASK
    wait_for_stock_hours: Annotated[float, Field(ge=0, le=168)] = 1.0

    @classmethod
    def of(cls, request: MachineRequest) -> Self:
        """The wishes behind a request."""
        candidates = request.candidates
        volume = request.network_volume_id
        # With a volume the data centre is the volume's.
        places = () if volume else tuple(each.data_center for each in candidates)
        usual = MachineRequest.model_fields
        values: dict[str, Any] = {
            name: getattr(request, name)
            for name in ("image", "registry", "start_script", "mount_path", "container_disk_gb")
            if getattr(request, name) != usual[name].default
        }
        return cls(
            budget_usd=request.budget_usd,
            gpu_types=tuple(dict.fromkeys(each.gpu_type for each in candidates)),
            gpu_count=candidates[0].gpu_count,
            clouds=tuple(dict.fromkeys(each.cloud for each in candidates)),
            data_centers=tuple(dict.fromkeys(filter(None, places))) if all(places) else (),
            volume=volume,
            max_duration_hours=request.max_duration_hours,
            max_interruptions=request.max_interruptions,
            after_interruptions=request.after_interruptions,
            wait_for_stock_hours=request.wait_for_stock_hours,
            **values,
        )


class JobTemplate(BaseModel):
    """What a new job begins with; what is typed beside it comes before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Preset.BALANCED
    base_model: str = "tiny"
    base_model_revision: str | None = None
    hyperparameters: Mapping[str, str] = {}
    """As typed; only those that shall not follow the preset."""
    options: Mapping[str, str] = {}
    """Job options that are not as usual, as typed."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    machine: MachineWishes | None = None
    """None: for a machine that is there."""

    @classmethod
    def of(cls, spec: JobSpec, request: MachineRequest | None = None) -> Self:
        """The template that gives jobs like this one."""
        usual = Hyperparameters.from_values({}, spec.preset)
        return cls(
            preset=spec.preset,
            base_model=spec.base_model,
            base_model_revision=spec.base_model_revision,
            hyperparameters={
                name: setting_text(setting_of(spec, name))
                for name in Hyperparameters.model_fields
                if setting_of(spec, name) != getattr(usual, name)
            },
            options={n: text for n, text in unusual_options(spec) if n not in _OF_ONE_JOB},
            tags=spec.tags,
            notes=spec.notes,
            machine=None if request is None else MachineWishes.of(request),
        )

    def values(self) -> dict[str, Any]:
        """Fields of a job spec; hyperparameters stay text, as `build_job_spec` takes them."""
        return {
            "preset": self.preset,
            "base_model": self.base_model,
            "base_model_revision": self.base_model_revision,
            "hyperparameters": dict(self.hyperparameters),
            "tags": self.tags,
            "notes": self.notes,
            **{name: option_value(name, text) for name, text in self.options.items()},
        }

    def check(self) -> None:
        """See that it gives jobs.

        Raises:
            InvalidHyperparameter, InvalidJobSpec: a value that is none, by this version.
        """
        Hyperparameters.from_values(dict(self.hyperparameters), self.preset)
        self.values()

    def lines(self) -> list[tuple[str, str]]:
        """(name, value) of everything in it, for people."""
        pairs: list[tuple[str, object]] = [
            ("preset", self.preset),
            ("base_model", self.base_model),
            ("base_model_revision", self.base_model_revision),
            *self.hyperparameters.items(),
            *self.options.items(),
            ("tags", self.tags),
            ("notes", self.notes),
        ]
        if self.machine is not None:
            pairs += [("host", "runpod"), *self.machine]
        return [(name, setting_text(value)) for name, value in pairs if value not in (None, "", ())]


def read_template(name: str, settings: Mapping[str, Any]) -> JobTemplate:
    """The template that was kept under a name.

    Raises:
        InvalidInput: a newer version has made it, or it does not hold together; it stays as it is.
    """
    unknown = sorted(
        {*settings} - {*JobTemplate.model_fields}
        | {*(settings.get("machine") or {})} - {*MachineWishes.model_fields}
        | {*(settings.get("options") or {})} - {*JOB_OPTIONS}
        | {*(settings.get("hyperparameters") or {})} - {*Hyperparameters.model_fields}
    )
    if unknown:
        raise InvalidInput(
            f"template {clean_line(name)!r}: this version does not know "
            f"{', '.join(map(clean_line, unknown))}, so a newer brightrun has made it. It is kept "
            "as it is: upgrade, or save another template."
        )
    try:
        template = JobTemplate.model_validate(settings)
        template.check()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"template {clean_line(name)!r}: {clean_line(place)}: {first['msg']}. It is kept as it "
            "is; save it anew under another name."
        ) from error
    return template
