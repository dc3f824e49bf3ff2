"""The trainer's own answers to a few prompts, and whether a reloaded adapter gives them again.

Before it ends, the trainer decodes each prompt greedily and writes down, for every token it chose,
its highest logits and the normaliser of all of them. A fresh process that has loaded the adapter
from its files must come to the same. Two files hold such answers: `portability.json` in the
adapter, to prompts of ours that disclose nothing, is for whoever loads it elsewhere; the other
one, to prompts out of the training file, stays on the machine.

It knows nothing of processes and events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedTokenizerBase

from agent.trainer.batches import Example
from shared.chat_format import ChatEncoder
from shared.dataset.conversation import Message
from shared.errors import AdapterRejected

PORTABILITY_FILE = "portability.json"

NEUTRAL_PROMPTS = ("Please introduce yourself in one sentence.",)

CONVERSATION_PROMPTS = 2
LONGEST_PROMPT_TOKENS = 2048
NEW_TOKENS = 12

TOP_LOGITS = 64
"""Kept of each position: 64 of Llama 3's 128,256; the normaliser stands for all others."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.5}
"""Largest absolute difference of a logit, by the dtype that the base model computes in.

fp32 on the CPU: a reload gave the same bits with as many threads, and 1e-6 with another number of
them, while an adapter that was 1 % too weak was off by 3e-3 (tiny model, torch 2.13.0, 2026-11).
bf16: the same kernels gave the same bits on a CPU, while another attention implementation was off
by 0.9 at logits up to 32 (SmolLM2-135M, 2026-11); so both sides use SDPA. Unverified on hardware.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: the text for a person, the ids (T,) for the model."""

    text: str
    input_ids: list[int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model chose, N tokens, and with which logits."""

    prompt: Prompt
    generated: str
    new_ids: list[int]
    """(N,)"""
    top_ids: list[list[int]]
    """(N, TOP_LOGITS): token ids by falling logit."""
    top_logits: list[list[float]]
    """(N, TOP_LOGITS)"""
    log_normalizers: list[float]
    """(N,): log-sum-exp over the whole vocabulary."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a model is from the trainer's answers."""

    prompts: int
    logit_difference: float
    """The largest absolute difference of all positions, normalisers among them."""


# --- the prompts ------------------------------------------------------------------------------


def neutral_prompts(encoder: ChatEncoder) -> list[Prompt]:
    """Prompts of ours: the same for every adapter."""
    messages = [(Message("user", text),) for text in NEUTRAL_PROMPTS]
    return [_prompt(item, encoder) for item in messages]


def conversation_prompts(
    held_out: Sequence[Example], train: Sequence[Example], encoder: ChatEncoder
) -> list[Prompt]:
    """The shortest first turns of held-out conversations; of trained ones where none is held out.

    None of them where all are longer than `LONGEST_PROMPT_TOKENS`.
    """
    openings = {
        tuple(takewhile(lambda message: message.role != "assistant", example.messages))
        for example in held_out or train
    }
    prompts = [_prompt(messages, encoder) for messages in openings if messages]
    short = [item for item in prompts if len(item.input_ids) <= LONGEST_PROMPT_TOKENS]
    return sorted(short, key=lambda item: (len(item.input_ids), item.text))[:CONVERSATION_PROMPTS]


def _prompt(messages: tuple[Message, ...], encoder: ChatEncoder) -> Prompt:
    return Prompt(messages[-1].content, encoder.encode_prompt(messages))


# --- the answers ------------------------------------------------------------------------------


def answer(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, prompts: Iterable[Prompt]
) -> list[Answer]:
    """Decode every prompt greedily. Dropout must be off."""
    answers = []
    for prompt in prompts:
        new_ids = decode_greedily(model, tokenizer, prompt.input_ids)
        logits = next_token_logits(model, prompt.input_ids, new_ids)  # (N, V)
        top = logits.topk(min(TOP_LOGITS, logits.shape[-1]))
        answers.append(
            Answer(
                prompt=prompt,
                generated=str(tokenizer.decode(new_ids, skip_special_tokens=True)),
                new_ids=new_ids,
                top_ids=top.indices.tolist(),
                top_logits=top.values.tolist(),
                log_normalizers=logits.logsumexp(-1).tolist(),
            )
        )
    return answers


def decode_greedily(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, input_ids: list[int]
) -> list[int]:
    """Up to `NEW_TOKENS` token ids, at least one."""
    given = torch.tensor([input_ids], device=model.device)
    output = model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        generation_config=GenerationConfig(
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=model.generation_config.eos_token_id,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        ),
    )
    chosen: list[int] = output[0, len(input_ids) :].tolist()
    return chosen


def next_token_logits(
    model: torch.nn.Module, input_ids: list[int], new_ids: list[int]
) -> torch.Tensor:
    """Logits before each of the N new tokens, (N, V) in fp32 on the CPU."""
    ids = torch.tensor([[*input_ids, *new_ids[:-1]]], device=next(model.parameters()).device)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(input_ids) - 1 :]
    return logits.float().cpu()


# --- the comparison ---------------------------------------------------------------------------


def compare(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    answers: Sequence[Answer],
    tolerance: float,
) -> Comparison:
    """Let `model` answer the same prompts.

    Raises:
        AdapterRejected: it does not come to the trainer's logits and tokens, or does no more than
            the base model alone.
    """
    largest = 0.0
    for known in answers:
        prompt = known.prompt
        logits = next_token_logits(model, prompt.input_ids, known.new_ids)
        with model.disable_adapter():
            base = next_token_logits(model, prompt.input_ids, known.new_ids)
        difference = _require_same(known, logits, base, tolerance)
        largest = max(largest, difference)
        _require_same_tokens(known, decode_greedily(model, tokenizer, prompt.input_ids), tolerance)
    return Comparison(len(answers), largest)


def distances(known: Answer, logits: torch.Tensor) -> torch.Tensor:
    """Absolute differences of `logits` (N, V) from the known ones, (N, TOP_LOGITS + 1)."""
    ours = logits.gather(1, torch.tensor(known.top_ids))
    theirs = torch.tensor(known.top_logits)
    of_normalizers = logits.logsumexp(-1) - torch.tensor(known.log_normalizers)
    return torch.cat([ours - theirs, of_normalizers[:, None]], dim=1).abs()


def require_effect(model: PeftModel, input_ids: list[int]) -> None:
    """The adapter must change the model's logits, and they must be finite.

    Raises:
        AdapterRejected: one of the two does not hold.
    """
    adapted = next_token_logits(model, input_ids, input_ids[:1])
    with model.disable_adapter():
        _require_change(adapted, next_token_logits(model, input_ids, input_ids[:1]))


def _require_change(adapted: torch.Tensor, base: torch.Tensor) -> None:
    if not torch.isfinite(adapted).all():
        raise AdapterRejected("the adapter's logits are not finite")
    if torch.equal(adapted, base):
        raise AdapterRejected("the adapter changes nothing: its parameters were not loaded")


def _require_same(
    known: Answer, logits: torch.Tensor, base: torch.Tensor, tolerance: float
) -> float:
    """The largest difference from the trainer's logits, which must be small in both respects."""
    _require_change(logits, base)
    ours, without = distances(known, logits), distances(known, base)
    difference = ours.max().item()
    if difference > tolerance:
        raise AdapterRejected(
            f"the reloaded adapter's logits differ by up to {difference:.3g} from those of the "
            f"trainer, {tolerance:g} is allowed; without it they differ by {without.max():.3g}"
        )
    # A tolerance alone would let an adapter with a small effect pass with any weights.
    if ours.square().mean() >= without.square().mean():
        raise AdapterRejected(
            f"the reloaded adapter's logits are no nearer to those of the trainer "
            f"({difference:.3g}) than those of the base model alone ({without.max():.3g})"
        )
    return difference


def _require_same_tokens(known: Answer, new_ids: list[int], tolerance: float) -> None:
    """The same tokens, up to a place where two of them were tied."""
    for position, (expected, found) in enumerate(zip(known.new_ids, new_ids, strict=False)):
        if expected == found:
            continue
        logits = dict(zip(known.top_ids[position], known.top_logits[position], strict=True))
        gap = abs(logits[expected] - logits.get(found, float("-inf")))
        if gap > 2 * tolerance:
            raise AdapterRejected(
                f"greedy decoding gives token {found} instead of the trainer's {expected} as new "
                f"token {position + 1}; they were {gap:.3g} apart, so this was no tie"
            )
        return


# --- the files --------------------------------------------------------------------------------


def write_answers(answers: Sequence[Answer], path: Path) -> None:
    """Write them as JSON."""
    described = {
        "meaning": "For each prompt: the tokens that the trainer decoded greedily from input_ids, "
        "and before each of them its highest logits (top_logits of the tokens top_ids) and the "
        "log-sum-exp of all logits. Base model in NF4, adapter as published.",
        "answers": [asdict(item) for item in answers],
    }
    path.write_text(json.dumps(described), encoding="utf-8")


def read_answers(path: Path) -> list[Answer]:
    """What `write_answers` wrote.

    Raises:
        AdapterRejected: the file is not there, or is something else.
    """
    try:
        described = json.loads(path.read_text(encoding="utf-8"))["answers"]
        return [Answer(**{**item, "prompt": Prompt(**item["prompt"])}) for item in described]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterRejected(f"{path}: the trainer's answers cannot be read ({error})") from error
