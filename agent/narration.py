"""Journal records as lines for a person, for `brightrun-agent run`. Pure."""

from __future__ import annotations

from shared import events
from shared.lifecycle import STOP_REASONS


def narrate(record: events.JournalRecord, total_steps: int | None) -> str | None:
    """One line about the record; None for what a person need not see."""
    sentence = _sentence(record, total_steps)
    return None if sentence is None else f"{record.time.astimezone():%H:%M:%S}  {sentence}"


def _sentence(record: events.JournalRecord, total_steps: int | None) -> str | None:
    match record.event:
        case events.AttemptStarted():
            return f"attempt {record.attempt} of {record.job_id}"
        case events.TrainerAdopted() as event:
            return f"the trainer still runs (pid {event.trainer_pid}); following it"
        case events.CancelRequested() as event:
            return f"cancelling: {event.reason}" if event.reason else "cancelling"
        case events.StageEntered() as event:
            return f"{event.activity}: {event.detail}" if event.detail else str(event.activity)
        case events.RunFacts() as event:
            return (
                f"{event.conversations} conversations, {event.targets} targets, "
                f"{event.total_steps} steps of {event.base_model} on {event.device}"
            )
        case events.Metrics() as event:
            loss = "not finite" if event.loss is None else f"{event.loss:.4f}"
            of_total = f"/{total_steps}" if total_steps else ""
            return f"step {event.step}{of_total}  loss {loss}  {event.step_s:.2f} s"
        case events.Evaluation() as event:
            loss = "not finite" if event.loss is None else f"{event.loss:.4f}"
            return f"held-out loss {loss} after step {event.step}"
        case events.AttemptEnded() as event:
            return _end(event)
        case _:
            return _file_sentence(record.event)


def _file_sentence(event: events.Event) -> str | None:
    match event:
        case events.CheckpointCommitted():
            return f"checkpoint at step {event.step}: {event.path}"
        case events.CheckpointRefused():
            return f"checkpoint {event.path} was not used: {event.reason}"
        case events.Resumed():
            return f"resumed after step {event.step}"
        case events.AdapterSaved():
            return f"adapter saved: {event.path}"
        case events.AdapterVerified():
            return f"adapter verified: it loads and says {event.generated!r}"
        case events.LogLine() if event.level != "info":
            return f"{event.level}: {event.message}"
        case _:
            return None


def _end(event: events.AttemptEnded) -> str:
    sentence = f"{event.stop_reason}: {event.detail}" if event.detail else str(event.stop_reason)
    if event.will_retry:
        return f"interrupted, {sentence}; another attempt follows"
    return f"{sentence}\n{STOP_REASONS[event.stop_reason].advice}"
