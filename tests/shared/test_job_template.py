from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.hyperparameters import Preset
from shared.job_options import changed_settings, changed_spec
from shared.job_spec import CheckpointReference, build_job_spec
from shared.job_template import JobTemplate, MachineWishes, read_template
from shared.machine_request import AfterInterruptions, Candidate, Cloud, MachineRequest
from tests.shared.store.journal import job_spec

CHANGES: dict[str, Any] = {
    "preset": Preset.AGGRESSIVE,
    "lora_r": 8,
    "target_modules": ("q_proj", "v_proj"),
    "num_gpus": 2,
    "early_stopping_patience": 4,
    "attention": "sdpa",
    "tags": ("client-a", "x"),
    "notes": "two\nlines",
    "base_model": "org/model",
    "base_model_revision": "abc",
}


def request(**values: Any) -> MachineRequest:
    first = Candidate(gpu_type="H100_PCIE", data_center="US-KS-2", usd_per_hour=2.39)
    second = Candidate(gpu_type="A100_80GB", data_center="US-KS-2", usd_per_hour=1.64)
    return MachineRequest(**{"candidates": (first, second), "budget_usd": 20.0, **values})


def test_a_job_made_of_a_template_has_the_settings_of_the_job_that_it_was_made_of() -> None:
    spec = changed_spec(job_spec("job-one"), CHANGES)
    kept = JobTemplate.of(spec).model_dump(mode="json", exclude_defaults=True)

    values = read_template("big", kept).values()
    again = build_job_spec(spec.dataset, {**values, "name": spec.name, "job_id": "job-two"}, "test")

    assert changed_settings(spec, again) == []
    assert again.model_copy(update={"job_id": "job-one"}) == spec


def test_only_what_differs_from_the_preset_is_kept() -> None:
    template = JobTemplate.of(changed_spec(job_spec(), {"lora_r": 8}))
    assert (template.hyperparameters, template.options) == ({"lora_r": "8"}, {})


def test_a_template_names_no_checkpoint_of_the_job_that_it_was_made_of() -> None:
    begins = CheckpointReference(job_id="job-old", step=4, manifest_sha256="a" * 64)
    spec = changed_spec(job_spec(), {"resume_from": begins, "force_resume": True})
    assert JobTemplate.of(spec).options == {}


def test_of_a_rented_machine_the_wishes_are_kept_and_no_prices() -> None:
    wishes = MachineWishes.of(
        request(
            network_volume_id="vol-1",
            image="org/image:1",
            max_interruptions=1,
            after_interruptions=AfterInterruptions.STOP,
        )
    )
    assert wishes == MachineWishes(
        budget_usd=20,
        gpu_types=("H100_PCIE", "A100_80GB"),
        gpu_count=1,
        clouds=(Cloud.SECURE,),
        volume="vol-1",
        image="org/image:1",
        max_interruptions=1,
        after_interruptions=AfterInterruptions.STOP,
    )
    assert "2.39" not in wishes.model_dump_json()
    assert MachineWishes.of(request()).data_centers == ("US-KS-2",)


def test_every_wish_is_a_field_of_what_can_be_wanted() -> None:
    kept = JobTemplate(machine=MachineWishes(budget_usd=3)).model_dump(
        mode="json", exclude_defaults=True
    )
    assert kept == {"machine": {"budget_usd": 3.0}}
    assert read_template("x", kept).machine == MachineWishes(budget_usd=3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"of_the_future": 1}, "does not know of_the_future"),
        ({"machine": {"moon": 1}}, "does not know moon"),
        ({"options": {"warp": "9"}}, "does not know warp"),
        ({"hyperparameters": {"warp": "9"}}, "does not know warp"),
        ({"preset": "wild"}, "preset"),
        ({"machine": {"budget_usd": -1}}, "machine.budget_usd"),
        ({"hyperparameters": {"lora_r": "0"}}, "lora_r"),
        ({"options": {"num_gpus": "0"}}, "num_gpus"),
        ({"options": ["a list"]}, "does not know a list"),
        ({"\x1b[31m": 1}, "newer brightrun"),
    ],
)
def test_a_template_of_another_version_or_a_damaged_one_is_refused_with_the_reason(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_template("big", settings)
    assert words in str(refused.value)
    assert "\x1b" not in str(refused.value)
