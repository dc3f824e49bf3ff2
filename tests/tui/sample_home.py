"""A home whose jobs never change: the same figures, times and ids in every run."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from shared import events
from shared.dataset.findings import Finding, Severity
from shared.dataset.sample import SAMPLE_JSON
from shared.events import JournalRecord
from shared.job_spec import DatasetReference, JobSpec
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.store.schema import training_jobs
from shared.store.store import Store, open_store
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.dataset_registry import stored_file

MODEL = "meta-llama/Meta-Llama-3-70B-Instruct"
STEPS = 141


class Journal:
    """Records of one attempt, each some seconds after the one before."""

    def __init__(self, job_id: str, begin: datetime, attempt: int = 1) -> None:
        self.job_id, self.now, self.attempt = job_id, begin, attempt
        self.records: list[JournalRecord] = []

    def add(self, event: events.Event, seconds: float = 1.0) -> None:
        self.now += timedelta(seconds=seconds)
        seq = len(self.records) + 1
        self.records.append(
            JournalRecord(
                job_id=self.job_id,
                attempt=self.attempt,
                seq=seq,
                time=self.now,
                trainer_offset=seq * 10,
                event=event,
            )
        )

    def enter(self, status: JobStatus, activity: Activity, seconds: float) -> None:
        self.add(events.StageEntered(status=status, activity=activity), seconds)

    def prepare(self) -> None:
        self.add(events.AttemptStarted(journal_id="j", agent_version="0.1.0"))
        self.add(events.TrainerStarted(shim_pid=2, trainer_pid=3))
        self.enter(JobStatus.PREPROCESSING, Activity.CHECKING_DATASET, 3)
        self.enter(JobStatus.PREPROCESSING, Activity.LOADING_MODEL, 9)
        self.add(
            events.RunFacts(
                conversations=65,
                held_out_conversations=7,
                targets=743,
                tokens_per_epoch=21_678,
                supervised_tokens_per_epoch=13_200,
                total_steps=STEPS,
                trainable_parameters=207_093_760,
                base_model=MODEL,
                device="NVIDIA H100 PCIe",
                optim="paged_adamw_8bit",
                quantization="nf4 with double quantisation",
                versions={"torch": "2.13.0", "peft": "0.21.1"},
            ),
            300,
        )

    def train(self, first: int, last: int) -> None:
        self.enter(JobStatus.TRAINING, Activity.TRAINING, 1)
        noise = random.Random(first)
        for step in range(first, last + 1):
            self.add(_step(step, noise.gauss(0, 0.06)), 14.2)
            if step % 20 == 0:
                loss = 1.08 + 1.05 * math.exp(-step / 40)
                held_out = events.Evaluation(
                    step=step, epoch=3 * step / STEPS, loss=loss, supervised_tokens=1400
                )
                self.add(held_out, 5)
                self.add(
                    events.CheckpointCommitted(
                        step=step,
                        path=f"checkpoints/step-{step}",
                        manifest_sha256="a" * 64,
                        size_bytes=1_242_000_000,
                        seconds=2.0,
                    )
                )

    def end(self, reason: StopReason, detail: str = "", *, will_retry: bool = False) -> None:
        ended = events.AttemptEnded(stop_reason=reason, detail=detail, will_retry=will_retry)
        self.add(ended, 4)

    def save_adapter(self) -> None:
        sha256 = "c" * 64
        self.enter(JobStatus.TRAINING, Activity.SAVING_ADAPTER, 1)
        path = "attempts/2/adapter"
        self.add(events.AdapterSaved(path=path, manifest_sha256=sha256, size_bytes=414_200_000), 6)
        self.enter(JobStatus.TRAINING, Activity.VERIFYING_ADAPTER, 1)
        self.add(
            events.AdapterVerified(
                manifest_sha256=sha256,
                prompt="I keep putting off our budget.",
                generated="That sounds heavy, and it makes sense.",
                generated_tokens=11,
            ),
            90,
        )


def _step(step: int, noise: float) -> events.Metrics:
    return events.Metrics(
        step=step,
        epoch=3 * step / STEPS,
        loss=1.0 + 1.1 * math.exp(-step / 35) + noise,
        grad_norm=0.3 + 0.6 * math.exp(-step / 20) + abs(noise),
        learning_rate=2e-4 * min(step / 5, 1) * (1 - 0.9 * step / STEPS),
        tokens=460,
        supervised_tokens=280,
        step_s=14.2,
        memory_bytes=61_300_000_000,
    )


async def fill(home: Path) -> None:
    """Four jobs that have ended: well, after an interruption; badly; by hand; and as a dry run."""
    async with open_store(home / "brightrun.db") as store:
        done = "20261120-0901-a1b2c3"
        await _add(store, done, "Elena Morales, empathy v4", ("empathy", "v4"))
        first = Journal(done, datetime(2026, 11, 20, 9, 1, tzinfo=UTC))
        first.prepare()
        first.add(events.Evaluation(step=0, epoch=0, loss=2.1321, supervised_tokens=1400), 20)
        first.train(1, 97)
        first.end(StopReason.TRAINER_KILLED, "signal 9", will_retry=True)
        second = Journal(done, first.now, attempt=2)
        second.prepare()
        second.add(events.Resumed(step=80, path="checkpoints/step-80"), 20)
        second.train(81, STEPS)
        second.save_adapter()
        second.end(StopReason.COMPLETED)
        await store.apply_records(done, [*first.records, *second.records])

        for job_id, name, last, reason, detail in (
            ("20261119-1633-0be991", "pension anxiety, aggressive", 31, _OOM, _OOM_DETAIL),
            ("20261119-1402-4f4f4f", "first try", 9, StopReason.CANCELLED, "wrong file"),
        ):
            await _add(store, job_id, name, ())
            journal = Journal(job_id, datetime(2026, 11, 19, 14, 2, tzinfo=UTC))
            journal.prepare()
            journal.train(1, last)
            journal.end(reason, detail)
            await store.apply_records(job_id, journal.records)
        await _add_training_file(store)


async def _add_training_file(store: Store) -> None:
    """The one that the jobs were given; it is not there any more."""
    checked = check_training_file(SAMPLE_JSON, CheckSettings("tiny"), None)
    file = stored_file(checked)
    name = "EQ-12.json"
    known = replace(file, sha256="b" * 64, name=name, path=f"/data/{name}", checked_at=_CHECKED)
    report = replace(checked.report, findings=(_CUT,), finding_counts={Severity.WARNING: {"x": 1}})
    await store.training_files.record(replace(known, warnings=1), report)


_CHECKED = datetime(2026, 11, 19, 14, 0, tzinfo=UTC)
_CUT = Finding(
    Severity.WARNING,
    "cut_target",
    "the target ends in mid-sentence.",
    "Complete it.",
    "7f6b",
    4,
    "conversations[2].training_pairs[3]",
    "and then we can \\",
)


_OOM, _OOM_DETAIL = StopReason.OUT_OF_MEMORY, "CUDA out of memory: 78.3 of 80.0 GB"


async def _add(store: Store, job_id: str, name: str, tags: tuple[str, ...]) -> None:
    dataset = DatasetReference(file_name="EQ-12.json", sha256="b" * 64, size_bytes=3_100_000)
    spec = JobSpec(job_id=job_id, name=name, tags=tags, dataset=dataset, base_model=MODEL)
    await store.add_job(spec, "local")
    created_at = datetime.strptime(job_id[:13], "%Y%m%d-%H%M").replace(tzinfo=UTC)
    async with store.database.writing() as connection:
        where = training_jobs.c.id == job_id
        await connection.execute(update(training_jobs).where(where).values(created_at=created_at))
