"""Hyperparameters of a job: the public names, their ranges, their help lines and the presets.

The public names are those of Bright Run's web application (`batch_size`, `lora_r`, `num_epochs`,
`max_seq_length`); the trainer maps them once to the upstream libraries' names. It knows nothing of
files, machines or torch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from shared.errors import InvalidHyperparameter, UnknownHyperparameter

LLAMA_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The seven linear projections of a Llama block: the `target_modules` of QLoRA (Dettmers et al.,
2023, section 4: adapting all linear layers is needed to match full fine-tuning)."""


class Preset(StrEnum):
    """Named starting points; `balanced` is the default."""

    CONSERVATIVE = "conservative"
    BALANCED = "balanced"
    AGGRESSIVE = "aggressive"


class Hyperparameters(BaseModel):
    """A complete, validated set of hyperparameters; frozen.

    Build one with `Hyperparameters.from_values`, which turns a bad value into one clear error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    num_epochs: Annotated[
        int, Field(ge=1, le=100, description="Passes over the training conversations.")
    ] = 3
    batch_size: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="Training targets (assistant turns) per accumulation step; multiplied by "
            "gradient_accumulation_steps it is the number of targets in one optimizer step.",
        ),
    ] = 4
    gradient_accumulation_steps: Annotated[
        int, Field(ge=1, le=64, description="Multiplies batch_size; costs no memory.")
    ] = 4
    learning_rate: Annotated[
        float,
        Field(gt=0, lt=1, description="Peak learning rate; large models like 1e-4 to 3e-4."),
    ] = 2e-4
    lora_r: Annotated[
        int, Field(ge=1, le=256, description="Rank of the adapter; more rank, more memory.")
    ] = 16
    lora_alpha: Annotated[
        int, Field(ge=1, le=512, description="Scale of the adapter; usually twice lora_r.")
    ] = 32
    lora_dropout: Annotated[
        float, Field(ge=0, lt=1, description="Dropout on the adapter's input while training.")
    ] = 0.05
    warmup_ratio: Annotated[
        float, Field(ge=0, lt=1, description="Share of the steps in which the rate rises.")
    ] = 0.03
    weight_decay: Annotated[
        float, Field(ge=0, le=1, description="AdamW weight decay on the adapter.")
    ] = 0.01
    max_seq_length: Annotated[
        int,
        Field(
            ge=64,
            le=131_072,
            description="Longest conversation in tokens. A longer one stops the start, "
            "unless over_long says otherwise; nothing is cut silently.",
        ),
    ] = 4096
    eval_fraction: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            description="Share of the conversations held out of training; a small file holds out "
            "more, up to 0.3, to come to ten.",
        ),
    ] = 0.1
    seed: Annotated[
        int, Field(ge=0, le=2**32 - 1, description="Seed of initialisation, order and dropout.")
    ] = 42
    target_modules: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Linear layers that get an adapter."),
    ] = LLAMA_PROJECTIONS

    @property
    def targets_per_step(self) -> int:
        """Training targets in one optimizer step."""
        return self.batch_size * self.gradient_accumulation_steps

    @classmethod
    def from_values(cls, values: dict[str, Any], preset: Preset = Preset.BALANCED) -> Self:
        """The preset with `values` laid over it; strings are read as the field's type.

        Raises:
            UnknownHyperparameter: a name that is none.
            InvalidHyperparameter: a value outside its range.
        """
        for name in values:
            if name not in cls.model_fields:
                raise UnknownHyperparameter(name, tuple(cls.model_fields))
        merged = {**PRESETS[preset], **values}
        if isinstance(merged.get("target_modules"), str):
            names = map(str.strip, merged["target_modules"].split(","))
            merged["target_modules"] = tuple(filter(None, names))
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            raise InvalidHyperparameter(
                name, merged.get(name), allowed_range(name), help_line(name)
            ) from error


PRESETS: dict[Preset, dict[str, Any]] = {
    Preset.CONSERVATIVE: {
        "num_epochs": 2,
        "learning_rate": 1e-4,
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
    },
    Preset.BALANCED: {},
    Preset.AGGRESSIVE: {
        "num_epochs": 4,
        "learning_rate": 3e-4,
        "lora_r": 32,
        "lora_alpha": 64,
        "lora_dropout": 0.05,
    },
}
"""What each preset changes. All three stay within the learning rates that large models prefer
(1e-4 to 3e-4: tinker-cookbook, sft_sweep.md, 2026-11)."""


def help_line(name: str) -> str:
    """One sentence about the field, for forms and errors."""
    return Hyperparameters.model_fields[name].description or ""


def allowed_range(name: str) -> str:
    """The field's type and range in words: `a number above 0, below 1`."""
    field = Hyperparameters.model_fields[name]
    noun = {int: "a whole number", float: "a number"}.get(field.annotation, "a list of names")  # type: ignore[arg-type]
    bounds = ", ".join(_bounds(field))
    return f"{noun} {bounds}".strip() if noun != "a list of names" else "a non-empty list of names"


def _bounds(field: FieldInfo) -> list[str]:
    words = {
        annotated_types.Gt: ("gt", "above"),
        annotated_types.Ge: ("ge", "at least"),
        annotated_types.Lt: ("lt", "below"),
        annotated_types.Le: ("le", "at most"),
    }
    return [
        f"{words[type(bound)][1]} {getattr(bound, words[type(bound)][0])}"
        for bound in field.metadata
        if type(bound) in words
    ]
