from __future__ import annotations

import math
from typing import Any

import annotated_types
import pytest
from pydantic import ValidationError

from shared.errors import InvalidHyperparameter, UnknownHyperparameter
from shared.hyperparameters import (
    LLAMA_PROJECTIONS,
    PRESETS,
    Hyperparameters,
    Preset,
    allowed_range,
    help_line,
)

FIELDS = Hyperparameters.model_fields
NUMBERS = [name for name, field in FIELDS.items() if field.annotation in (int, float)]


def bounds(name: str) -> dict[type, Any]:
    """The field's bounds by kind: `{Ge: 1, Le: 64}`."""
    names = {"Gt": "gt", "Ge": "ge", "Lt": "lt", "Le": "le"}
    return {
        type(bound): getattr(bound, names[type(bound).__name__])
        for bound in FIELDS[name].metadata
        if type(bound).__name__ in names
    }


def outside(name: str) -> list[Any]:
    """Values just outside the field's range."""
    found = bounds(name)
    step = 1 if FIELDS[name].annotation is int else 1e-9
    below = found[annotated_types.Ge] - step if annotated_types.Ge in found else 0
    above = found[annotated_types.Le] + step if annotated_types.Le in found else 1
    return [below, above]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_range_and_a_help_line(name: str) -> None:
    assert allowed_range(name).startswith(("a whole number at", "a number a", "a non-empty list"))
    assert help_line(name).endswith(".")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_value_outside_its_range_is_refused_with_name_range_and_help(name: str) -> None:
    assert len(bounds(name)) == 2
    for value in [*outside(name), "many", None, math.nan, math.inf, "nan", "-inf", ""]:
        with pytest.raises(InvalidHyperparameter) as caught:
            Hyperparameters.from_values({name: value})
        assert str(caught.value) == (
            f"{name} = {value!r} is out of range: it must be {allowed_range(name)}. "
            f"{help_line(name)}"
        )
        assert caught.value.name == name


@pytest.mark.parametrize("name", NUMBERS)
def test_the_ends_of_a_range_belong_to_it_where_it_says_at_least_or_at_most(name: str) -> None:
    for kind, bound in bounds(name).items():
        if kind in (annotated_types.Ge, annotated_types.Le):
            assert getattr(Hyperparameters.from_values({name: bound}), name) == bound


def test_a_range_is_said_in_words() -> None:
    assert allowed_range("learning_rate") == "a number above 0, below 1"
    assert allowed_range("batch_size") == "a whole number at least 1, at most 64"
    assert allowed_range("target_modules") == "a non-empty list of names"


@pytest.mark.parametrize("value", ["", " , ", (), [], [3], 3])
def test_target_modules_must_be_names(value: Any) -> None:
    with pytest.raises(InvalidHyperparameter, match="must be a non-empty list of names"):
        Hyperparameters.from_values({"target_modules": value})


def test_strings_from_the_command_line_are_read_as_the_fields_type() -> None:
    read = Hyperparameters.from_values(
        {"num_epochs": "5", "learning_rate": "1e-4", "target_modules": "q_proj, v_proj"}
    )
    assert (read.num_epochs, read.learning_rate) == (5, 1e-4)
    assert read.target_modules == ("q_proj", "v_proj")


def test_a_whole_number_must_be_whole() -> None:
    with pytest.raises(InvalidHyperparameter, match="a whole number"):
        Hyperparameters.from_values({"num_epochs": "2.5"})


def test_an_unknown_name_is_refused_with_the_names_known() -> None:
    with pytest.raises(UnknownHyperparameter) as caught:
        Hyperparameters.from_values({"lerning_rate": 1e-4})
    assert "'lerning_rate'" in str(caught.value)
    assert all(name in str(caught.value) for name in FIELDS)


@pytest.mark.parametrize("preset", Preset)
def test_every_preset_is_within_the_ranges(preset: Preset) -> None:
    made = Hyperparameters.from_values({}, preset)
    assert {name: getattr(made, name) for name in PRESETS[preset]} == PRESETS[preset]
    assert 1e-4 <= made.learning_rate <= 3e-4


def test_values_lie_over_the_preset() -> None:
    made = Hyperparameters.from_values({"lora_r": 64}, Preset.AGGRESSIVE)
    assert (made.lora_r, made.lora_alpha) == (64, 64)


def test_balanced_is_the_default_and_adapts_all_projections() -> None:
    assert Hyperparameters.from_values({}) == Hyperparameters()
    assert Hyperparameters().target_modules == LLAMA_PROJECTIONS
    assert Hyperparameters().targets_per_step == 16


def test_a_set_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Hyperparameters().lora_r = 8  # type: ignore[misc]
