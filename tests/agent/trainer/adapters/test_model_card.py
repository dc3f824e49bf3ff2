"""The model card tells what was trained on what; foreign names in it steer nothing."""

from __future__ import annotations

import re

import pytest
import yaml

from agent.run_directory import AttemptSpec
from agent.trainer.adapters.model_card import RunResult, code, model_card
from agent.trainer.checkpointing.snapshot import Progress
from shared.events import RunFacts
from shared.job_spec import DatasetReference, build_job_spec

HOSTILE = "a`|\n# x](http://x)<script>\x1b[2J\u202e.json"


def card(
    file_name: str = "eq.json", held_out_conversations: int = 7, **job: object
) -> tuple[dict[str, object], str]:
    """Front matter and text of the card of a finished run."""
    dataset = DatasetReference(file_name=file_name, sha256="ab" * 32, size_bytes=10)
    spec = AttemptSpec(
        job=build_job_spec(dataset, {"job_id": "job-one", "name": "job one", **job}, where="test"),
        attempt=2,
        dataset_path="/data/ab.json",
        models_directory="/models",
    )
    facts = RunFacts(
        conversations=65,
        held_out_conversations=held_out_conversations,
        targets=242,
        tokens_per_epoch=132_056,
        supervised_tokens_per_epoch=84_837,
        total_steps=42,
        trainable_parameters=207_093_760,
        base_model=spec.job.base_model,
        device="cpu",
        optim="adamw_torch",
        quantization="nf4",
        versions={"torch": "2.13.0"},
    )
    progress = Progress(final_loss=1.25, base_eval_loss=2.5, eval_loss=1.5)
    text = model_card(spec, RunResult(facts, progress, "llama-3", "cd" * 32))
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_a_model_of_the_hub_is_linked_as_the_adapters_base() -> None:
    head, body = card(base_model="meta-llama/Llama-3.3-70B-Instruct", base_model_revision="6f6")
    assert head["base_model"] == "meta-llama/Llama-3.3-70B-Instruct"
    assert head["base_model_relation"] == "adapter"
    assert head["library_name"] == "peft"
    assert 'from_pretrained("meta-llama/Llama-3.3-70B-Instruct", revision="6f6"' in body
    assert 'vllm serve "meta-llama/Llama-3.3-70B-Instruct" --enable-lora' in body


@pytest.mark.parametrize("base_model", ["tiny", "/mnt/models/llama", 'x"\nlicense: mit'])
def test_a_base_model_that_is_not_on_the_hub_is_not_linked(base_model: str) -> None:
    head, body = card(base_model=base_model)
    assert set(head) == {"library_name", "pipeline_tag", "tags"}
    assert 'from_pretrained("PATH/OF/THE/BASE/MODEL"' in body


def test_the_figures_of_the_run_are_in_it() -> None:
    _, body = card(hyperparameters={"lora_r": 24})
    for expected in (
        "| training file | `eq.json` |",
        f"| sha256 | `{'ab' * 32}` |",
        "| conversations | `65 trained, 7 held out` |",
        "| tokens | `132,056 an epoch, 84,837 of them carry loss` |",
        "| held-out loss of the base model | `2.5000` |",
        "| held-out loss with the adapter | `1.5000` |",
        "| lora_r | `24` |",
        "--max-lora-rank 32",
        "](curves.svg)",
    ):
        assert expected in body


def test_without_held_out_conversations_the_card_says_that_nothing_is_proved() -> None:
    assert "no evidence that it generalises" in card(held_out_conversations=0)[1]
    assert "no evidence" not in card()[1]


def test_a_hostile_file_name_stays_inside_its_code_span() -> None:
    _, body = card(file_name=HOSTILE)
    row = next(line for line in body.splitlines() if line.startswith("| training file"))
    assert re.fullmatch(r"\| training file \| `[^`]*` \|", row)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", body)
    assert len(re.findall("(?m)^#", body)) == len(re.findall("(?m)^#", card()[1]))


def test_a_value_in_a_table_cannot_open_a_cell() -> None:
    assert code("a|b`c") == "`a\\|b'c`"
    assert code(["q_proj", "v_proj"]) == "`q_proj, v_proj`"
    assert code("") == "–"
