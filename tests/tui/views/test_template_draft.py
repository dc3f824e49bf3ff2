from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.hyperparameters import Preset
from shared.job_template import JobTemplate, MachineWishes
from shared.machine_request import AfterInterruptions, Cloud
from tui.views.job_draft import JobDraft
from tui.views.rent_draft import RentDraft
from tui.views.template_draft import draft_with, template_of_draft

TEMPLATE = JobTemplate(
    preset=Preset.AGGRESSIVE,
    base_model="org/model",
    base_model_revision="abc",
    hyperparameters={"lora_r": "8", "target_modules": "q_proj,v_proj"},
    options={
        "cut_targets": "train",
        "over_long": "exclude",
        "dry_run": "true",
        "num_gpus": "2",
        "early_stopping_patience": "3",
        "attention": "sdpa",
    },
    tags=("a", "b"),
    notes="why",
)


def test_a_template_put_into_a_form_and_taken_out_again_is_the_same() -> None:
    draft = draft_with(TEMPLATE, JobDraft(dataset="train.json", name="mine"))

    assert (draft.dataset, draft.name, draft.host) == ("train.json", "mine", "local")
    assert draft.problems() == {}
    assert draft.carried == {"attention": "sdpa"}
    assert template_of_draft(draft, None) == TEMPLATE


def test_what_the_form_had_before_does_not_shine_through() -> None:
    before = JobDraft(
        hyperparameters={"seed": "9"}, num_gpus="4", carried={"optim": "adamw_torch"}, tags="x"
    )
    assert template_of_draft(draft_with(JobTemplate(), before), None) == JobTemplate()


def test_a_machine_goes_along_and_an_own_host_stays() -> None:
    wishes = MachineWishes(budget_usd=9)
    assert draft_with(JobTemplate(machine=wishes), JobDraft()).host == "runpod"
    assert draft_with(JobTemplate(), JobDraft(host="ssh:gpu")).host == "ssh:gpu"
    assert draft_with(JobTemplate(), JobDraft(host="runpod")).host == "local"


def test_the_form_of_a_machine_is_kept_with_what_has_no_place_on_it() -> None:
    rent = RentDraft(
        budget_usd="9.5",
        gpus="H100_SXM, A100_80GB",
        cloud="both",
        volume="new",
        volume_gb="300",
        after="stop",
        carried={"image": "org/image:1"},
    )
    template = template_of_draft(JobDraft(host="runpod"), rent)
    assert template.machine == MachineWishes(
        budget_usd=9.5,
        gpu_types=("H100_SXM", "A100_80GB"),
        clouds=(Cloud.SECURE, Cloud.COMMUNITY),
        volume="new:300",
        image="org/image:1",
        after_interruptions=AfterInterruptions.STOP,
    )
    assert RentDraft.of_wanted(rent.wanted()) == rent


def test_a_form_that_is_wrong_gives_no_template() -> None:
    with pytest.raises(InvalidInput, match="lora_r"):
        template_of_draft(JobDraft(hyperparameters={"lora_r": "many"}), None)
    with pytest.raises(InvalidInput, match="max_hours"):
        template_of_draft(JobDraft(host="runpod"), RentDraft(max_hours="for ever"))
