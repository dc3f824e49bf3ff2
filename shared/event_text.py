"""One line of text for each event; the same words in a console, a terminal and a pod's log.

Events carry foreign text (model output, error messages), so every line is cleaned here.
"""

from __future__ import annotations

from shared import events
from shared.clean_text import clean_line
from shared.job_state import JobState
from shared.number_text import clock, duration, many, number, size

_LONGEST_TEXT = 160


def describe_record(record: events.JournalRecord, state: JobState) -> str:
    """`16:13:34  step 1/39 ...`: time and words; `state` already holds the record."""
    match record.event:
        case events.Metrics() as step:
            words = describe_step(step, state)
        case _:
            words = describe_event(record)
    return f"{clock(record.time)}  {words}"


def describe_event(record: events.JournalRecord) -> str:
    """What happened, without its time."""
    line = clean_line(_words(record.event))
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"


def describe_step(event: events.Metrics, state: JobState) -> str:
    """The figures of one optimizer step; `state` knows how many there will be."""
    of_total = f"/{state.total_steps}" if state.total_steps else ""
    words = [
        f"step {event.step}{of_total}",
        f"epoch {event.epoch:.2f}",
        f"loss {number(event.loss, '.4f')}",
        f"lr {number(event.learning_rate, '.2e')}",
        f"grad_norm {number(event.grad_norm, '.3g')}",
    ]
    if event.step_s > 0:
        words.append(f"{event.tokens / event.step_s:.0f} tokens/s")
    if (eta_s := state.eta_s()) is not None:
        words.append(f"ETA {duration(eta_s)}")
    return "  ".join(words)


def describe_gpu(gpu: events.GpuReading) -> str:
    """`0: 98 %, 61,234 of 81,559 MiB, 71 C, 655 of 700 W`, without what is not known."""
    figures = [
        "" if gpu.utilisation_percent is None else f"{gpu.utilisation_percent} %",
        _of(gpu.memory_used_mib, gpu.memory_total_mib, "MiB"),
        "" if gpu.temperature_c is None else f"{gpu.temperature_c} C",
        _of(gpu.power_w, gpu.power_limit_w, "W"),
        *(f"held back by {clean_line(reason)}" for reason in gpu.held_back_by),
    ]
    return f"{gpu.index}: {', '.join(filter(None, figures)) or 'nothing is known'}"


def describe_model_progress(event: events.ModelProgress) -> str:
    """`downloading 34.1 GB of 141.2 GB (24 %), 210.0 MB/s, 0:08:31 left: model-00008-of-00030`."""
    words = f"{event.what} {size(event.done_bytes)}"
    if event.total_bytes:
        share = min(event.done_bytes / event.total_bytes, 1)
        words += f" of {size(event.total_bytes)} ({share:.0%})".replace("%", " %")
    if event.what == "loading":  # How far it is, nobody tells.
        words = f"loading {size(event.total_bytes)}"
    if event.bytes_per_s:
        words += f", {size(round(event.bytes_per_s))}/s"
    if event.eta_s is not None:
        words += f", {duration(event.eta_s)} left"
    return words + (f": {clean_line(event.file)}" if event.file else "")


def _of(value: int | None, most: int | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,} {unit}" if most is None else f"{value:,} of {most:,} {unit}"


def _words(event: events.Event) -> str:
    match event:
        case events.AttemptStarted():
            return f"attempt started by agent {event.agent_version} {event.detail}"
        case events.TrainerStarted():
            return f"trainer started (pid {event.trainer_pid})"
        case events.TrainerAdopted():
            return f"a new agent found the trainer alive (pid {event.trainer_pid})"
        case events.CancelRequested():
            return "cancel requested" + (f": {event.reason}" if event.reason else "")
        case events.AttemptEnded():
            follows = "; the next attempt follows" if event.will_retry else ""
            return f"attempt ended: {event.stop_reason} {event.detail}".rstrip() + follows
        case events.GpuSample():
            return "GPUs " + "; ".join(map(describe_gpu, event.gpus))
        case events.StageEntered():
            return f"{event.status}: {event.activity} {event.detail}"
        case events.ModelProgress():
            return describe_model_progress(event)
        case events.RunFacts():
            return _run_facts(event)
        case events.Metrics():
            return f"step {event.step}: loss {number(event.loss, '.4f')}"
        case events.Evaluation():
            which = "base model" if event.step == 0 else f"step {event.step}"
            return (
                f"held-out loss {number(event.loss, '.4f')}, "
                f"perplexity {number(event.perplexity, '.2f')} ({which})"
            )
        case events.CheckpointCommitted():
            return f"checkpoint at step {event.step} ({size(event.size_bytes)})"
        case events.CheckpointRefused():
            return f"checkpoint refused: {event.path}: {event.reason}"
        case events.Resumed():
            return f"resumed after step {event.step} from {event.path}"
        case events.AdapterSaved():
            return f"adapter saved ({size(event.size_bytes)}, {event.manifest_sha256[:12]})"
        case events.AdapterVerified():
            return f"adapter {_verified(event)}: {event.generated!r}"
        case events.LogLine():
            return event.message if event.level == "info" else f"{event.level}: {event.message}"
        case events.TrainerFinished():
            return f"trainer finished: {event.stop_reason} {event.detail}"


def _verified(event: events.AdapterVerified) -> str:
    if event.logit_difference is None:
        return "loads and generates"
    proof = f"{many(event.prompts, 'prompt')}, logits within {event.logit_difference:.1g}"
    return f"loads and generates as the trainer did ({proof})"


def _run_facts(event: events.RunFacts) -> str:
    return (
        f"{event.conversations} conversations ({event.held_out_conversations} held out), "
        f"{event.targets} targets, {event.tokens_per_epoch} tokens an epoch, "
        f"{event.total_steps} steps; {event.trainable_parameters} trainable parameters on "
        f"{event.base_model} ({event.device}, {event.quantization}, {event.optim})"
    )
