"""Proves, in a fresh process, that the adapter on the disk is the one that was trained.

It is loaded from its files with plain PEFT, must come to the trainer's own logits and greedy tokens
on a few prompts, and must have a layout that vLLM serves.
"""

from __future__ import annotations

from typing import Any

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from agent.run_directory import AttemptDirectory, AttemptSpec
from agent.trainer.adapters.portability import (
    PORTABILITY_FILE,
    TOLERANCE,
    Answer,
    Prompt,
    compare,
    decode_greedily,
    read_answers,
    require_effect,
)
from agent.trainer.adapters.vllm_layout import vllm_complaints
from agent.trainer.event_writer import EventWriter
from agent.trainer.model_cache import trainers_copy
from agent.trainer.models.base_model import (
    backend,
    compute_dtype,
    load_quantized,
    load_tokenizer,
    template_renderer,
)
from shared import events, manifest
from shared.chat_format import choose_chat_format
from shared.dataset.reader import read_dataset
from shared.errors import AdapterRejected
from shared.lifecycle import Activity, JobStatus


def verify_adapter(directory: AttemptDirectory, writer: EventWriter) -> None:
    """Check every hash, load base and adapter from their files, and let them answer the prompts.

    Raises:
        IntegrityError: a file of the adapter is missing or differs from the manifest.
        AdapterRejected: vLLM would not serve it, or it does not answer as the trainer did.
    """
    spec = directory.read_spec()
    writer.write(
        events.StageEntered(status=JobStatus.TRAINING, activity=Activity.VERIFYING_ADAPTER)
    )
    facts = manifest.verify(directory.adapter_path)
    if complaints := vllm_complaints(directory.adapter_path):
        raise AdapterRejected(f"vLLM would not serve the adapter: {'; '.join(complaints[:3])}")
    # Read first: loading the base model takes minutes.
    answers = trainers_answers(directory, facts)
    location = trainers_copy.chosen(directory, spec)
    tokenizer = load_tokenizer(location)
    model = PeftModel.from_pretrained(load_quantized(location), str(directory.adapter_path))
    model.eval()
    writer.write(
        compared(model, tokenizer, answers, directory)
        if answers
        else loaded(model, tokenizer, spec, directory)
    )


def trainers_answers(directory: AttemptDirectory, facts: dict[str, Any]) -> list[Answer]:
    """What the trainer answered, conversations first; nothing where it was not asked yet.

    Raises:
        AdapterRejected: the manifest names answers that are not there, or are not those.
    """
    described = facts.get("portability")
    if described is None:
        return []  # Adapters of version 0.1.0 have none.
    path = directory.portability_path
    if not path.is_file() or manifest.file_sha256(path) != described["conversations_sha256"]:
        raise AdapterRejected(f"{path}: is not what the trainer wrote; nothing to compare with")
    return [*read_answers(path), *read_answers(directory.adapter_path / PORTABILITY_FILE)]


def compared(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    answers: list[Answer],
    directory: AttemptDirectory,
) -> events.AdapterVerified:
    """The event, once the model has answered as the trainer did."""
    found = compare(model, tokenizer, answers, TOLERANCE[compute_dtype()])
    first = answers[0]
    return events.AdapterVerified(
        manifest_sha256=manifest.manifest_sha256(directory.adapter_path),
        prompt=first.prompt.text,
        generated=first.generated,
        generated_tokens=len(first.new_ids),
        prompts=found.prompts,
        logit_difference=found.logit_difference,
    )


def loaded(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: AttemptSpec,
    directory: AttemptDirectory,
) -> events.AdapterVerified:
    """The event for an adapter without the trainer's answers: it loads, and changes something."""
    encoder = choose_chat_format(backend(tokenizer), template_renderer(tokenizer))
    first = next(item for item in read_dataset(spec.dataset_path).conversations if item.targets)
    context = first.targets[0].context
    prompt = Prompt(context[-1].content, encoder.encode_prompt(context))
    require_effect(model, prompt.input_ids)
    new_ids = decode_greedily(model, tokenizer, prompt.input_ids)
    return events.AdapterVerified(
        manifest_sha256=manifest.manifest_sha256(directory.adapter_path),
        prompt=prompt.text,
        generated=tokenizer.decode(new_ids, skip_special_tokens=True),
        generated_tokens=len(new_ids),
    )
