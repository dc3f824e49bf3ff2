"""Proves, in a fresh process, that the adapter on the disk loads with PEFT and generates."""

from __future__ import annotations

import torch
from peft import PeftModel

from agent.run_directory import AttemptDirectory
from agent.trainer.base_model import (
    backend,
    load_quantized,
    load_tokenizer,
    locate,
    template_renderer,
)
from agent.trainer.event_writer import EventWriter
from shared import events, manifest
from shared.chat_format import choose_chat_format
from shared.dataset.reader import read_dataset
from shared.errors import AdapterRejected
from shared.lifecycle import Activity, JobStatus

NEW_TOKENS = 24


def verify_adapter(directory: AttemptDirectory, writer: EventWriter) -> None:
    """Check every hash, load base and adapter from their files, and generate one short answer.

    Raises:
        IntegrityError: a file of the adapter is missing or differs from the manifest.
        AdapterRejected: it loads no parameters, changes nothing, or its output is not finite.
    """
    spec = directory.read_spec()
    writer.write(
        events.StageEntered(status=JobStatus.TRAINING, activity=Activity.VERIFYING_ADAPTER)
    )
    manifest.verify(directory.adapter_path)
    location = locate(spec.job.base_model, spec.job.base_model_revision, spec.models_directory)
    tokenizer = load_tokenizer(location)
    model = PeftModel.from_pretrained(load_quantized(location), str(directory.adapter_path))
    model.eval()
    encoder = choose_chat_format(backend(tokenizer), template_renderer(tokenizer))
    first = next(item for item in read_dataset(spec.dataset_path).conversations if item.targets)
    context = first.targets[0].context
    prompt_ids = torch.tensor([encoder.encode_prompt(context)], device=model.device)
    _require_effect(model, prompt_ids)
    output = model.generate(
        input_ids=prompt_ids,
        attention_mask=torch.ones_like(prompt_ids),
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=1,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
    )
    new_ids = output[0, prompt_ids.shape[1] :]
    writer.write(
        events.AdapterVerified(
            manifest_sha256=manifest.manifest_sha256(directory.adapter_path),
            prompt=context[-1].content,
            generated=tokenizer.decode(new_ids, skip_special_tokens=True),
            generated_tokens=len(new_ids),
        )
    )


def _require_effect(model: PeftModel, prompt_ids: torch.Tensor) -> None:
    """The adapter must change the model's logits, and they must be finite."""
    with torch.no_grad():
        adapted = model(input_ids=prompt_ids).logits[0, -1].float()
        with model.disable_adapter():
            base = model(input_ids=prompt_ids).logits[0, -1].float()
    if not torch.isfinite(adapted).all():
        raise AdapterRejected("the adapter's logits are not finite")
    if torch.equal(adapted, base):
        raise AdapterRejected("the adapter changes nothing: its parameters were not loaded")
