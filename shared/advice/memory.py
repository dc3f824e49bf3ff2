"""What may help a job that ran out of memory, the cheapest change first.

By the time a job ends for want of GPU memory, its trainer has split packs down to single rows,
recomputed activations and moved them to the host (`agent/trainer/memory_guard.py`). What is left is
what one row needs: its length, the adapter with its optimizer, or another machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.advice.suggestion import EndedJob, Suggestion
from shared.dataset.report import DatasetReport
from shared.job_spec import JobSpec
from shared.memory.fitting import SMALLEST_PACK, SMALLEST_RANK
from shared.number_text import many, size

MOST_LEFT_OUT = 0.05
"""Share of the rows that a shorter max_seq_length may leave out. Ours (2026-11): on a file of 72
conversations these are three."""

LEAST_SHORTENING = 0.1
"""A shorter max_seq_length must save a tenth: activations grow with the tokens of a micro-batch
(facts of 2026-11: Qwen-72B QLoRA 64.1 GB at 2048 tokens, 75.6 GB at 8192), so less is noise."""

_SHORTEST_LENGTH = 64
"""The lowest that `max_seq_length` allows."""

_WEIGHT_AND_GRADIENT_BYTES = 8
"""fp32 both."""
_STATE_BYTES = {True: 2, False: 8}
"""Two moments of an adapter parameter, of an 8-bit AdamW and of one in fp32."""

_SPLIT = re.compile(r"is split; from now on at most ([\d,]+) tokens")


def out_of_memory(job: EndedJob) -> Iterator[Suggestion]:
    """The memory that the model is trained in did not suffice: the GPU's, where there is one."""
    if job.facts is not None:  # The model had been loaded.
        yield from _shorter_packs(job)
        yield from _shorter_rows(job)
        yield from _smaller_optimizer(job)
        yield from _lower_rank(job)
    device = "this one" if job.facts is None else f"the {job.facts.device}"
    larger = f"GPU with more memory than {device}"
    if device == "the cpu":
        larger = "machine with more memory"
    yield Suggestion(f"A {larger} takes the job as it is.", way="none")


def host_out_of_memory(job: EndedJob) -> Iterator[Suggestion]:
    """The machine's memory did not suffice; what the model itself needs, no setting changes."""
    if job.spec.num_gpus > 1:
        yield Suggestion(
            f"{job.spec.num_gpus} processes load the base model each; one needs it once.",
            {"num_gpus": 1},
        )
    if job.facts is not None and job.facts.device == "cpu":
        yield from _shorter_rows(job)
        yield from _lower_rank(job)


def packs_that_did_not_fit(job: EndedJob) -> Iterator[Suggestion]:
    """The run found out by itself how much fits, at the cost of steps that were done again."""
    limits = [
        int(found.replace(",", "")) for line in job.warnings for found in _SPLIT.findall(line)
    ]
    if not limits or job.facts is None:
        return
    pack_tokens = max(min(limits), SMALLEST_PACK)
    if pack_tokens < job.spec.pack_tokens:
        yield Suggestion(
            f"Memory ran out {many(len(limits), 'time')} until micro-batches had at most "
            f"{min(limits):,} tokens; beginning so saves the steps that were done twice.",
            {"pack_tokens": pack_tokens},
        )


def _shorter_packs(job: EndedJob) -> Iterator[Suggestion]:
    """Only where the longest micro-batch was a pack, and had not been split already."""
    longest = _longest_row(job.spec, job.report)
    tokens = 0 if job.facts is None else job.facts.micro_batch_tokens
    was_split = any(map(_SPLIT.search, job.warnings))
    if longest is None or tokens <= longest or was_split:
        return
    pack_tokens = max(tokens // 2, longest, SMALLEST_PACK)
    if pack_tokens >= min(job.spec.pack_tokens, tokens):
        return
    yield Suggestion(
        f"The longest micro-batch packs {tokens:,} tokens, the longest conversation has "
        f"{longest:,}: shorter packs give the same updates in less memory.",
        {"pack_tokens": pack_tokens},
        "resume" if job.state.last_checkpoint_step else "retry",
    )


def _shorter_rows(job: EndedJob) -> Iterator[Suggestion]:
    report, spec = job.report, job.spec
    longest = _longest_row(spec, report)
    if report is None or longest is None:
        return
    width, counts = report.lengths.bin_tokens, report.lengths.counts
    for index in range(1, len(counts)):
        length, over = index * width, sum(counts[index:])
        if over > MOST_LEFT_OUT * report.rows:
            continue
        if _SHORTEST_LENGTH <= length <= (1 - LEAST_SHORTENING) * longest:
            about = "about " if report.tokens_are_estimated else ""
            yield Suggestion(
                f"The longest conversation has {about}{longest:,} tokens; at most {over} of "
                f"{many(report.rows, 'row')} have more than {length:,} and would be left out.",
                {"max_seq_length": length, "over_long": "exclude"},
            )
        return


def _smaller_optimizer(job: EndedJob) -> Iterator[Suggestion]:
    facts = job.facts
    if facts is None or facts.device == "cpu" or "paged" in facts.optim:
        return
    state = facts.trainable_parameters * _STATE_BYTES["8bit" in facts.optim]
    yield Suggestion(
        f"{facts.optim} keeps {size(state)} of state on the GPU; paged 8-bit AdamW needs "
        f"{size(facts.trainable_parameters * _STATE_BYTES[True])}, which may move to the host.",
        {"optim": "paged_adamw_8bit"},
    )


def _lower_rank(job: EndedJob) -> Iterator[Suggestion]:
    facts, chosen = job.facts, job.spec.hyperparameters
    if facts is None or chosen.lora_r <= SMALLEST_RANK:
        return
    rank = max(chosen.lora_r // 2, SMALLEST_RANK)
    each = _WEIGHT_AND_GRADIENT_BYTES + _STATE_BYTES["8bit" in facts.optim]
    saved = round(facts.trainable_parameters * (1 - rank / chosen.lora_r) * each)
    yield Suggestion(
        f"The adapter of rank {chosen.lora_r} has {facts.trainable_parameters:,} parameters; "
        f"rank {rank} saves {size(saved)} of weights, gradients and optimizer state.",
        # The same scale, lora_alpha / lora_r, as before.
        {"lora_r": rank, "lora_alpha": max(chosen.lora_alpha * rank // chosen.lora_r, 1)},
    )


def _longest_row(spec: JobSpec, report: DatasetReport | None) -> int | None:
    """Tokens of the longest conversation that was trained; None where the file is not known."""
    if report is None or not report.longest_tokens:
        return None
    return min(report.longest_tokens, spec.hyperparameters.max_seq_length)
