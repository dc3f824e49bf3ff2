"""Commands on a job for which a machine is rented; the controller is somebody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import AdapterRejected, InvalidInput
from shared.events import AdapterSaved, CheckpointCommitted, GpuReading, GpuSample, utc_now
from shared.lifecycle import Activity, JobStatus
from shared.manifest import commit, manifest_sha256
from shared.rental import MachineState, RentalPhase, Wish
from shared.store.store import Store
from tests.shared.store.journal import job_spec, journal, stage, started
from tests.tui import rented
from tui.commands.answer import answer_job
from tui.commands.cancel import cancel_job
from tui.commands.fetch import fetch_job
from tui.commands.jobs import list_jobs
from tui.commands.resume import ResumeOptions, resume_job
from tui.commands.retry import RetryOptions, retry_job
from tui.commands.show import show_job

ANSWER_AS_TYPED = pytest.mark.parametrize("typed", ["go on", "GO ON ", "go-on", "go_on"])


@pytest.fixture
async def job(store: Store) -> str:
    await rented.add_rented_job(store)
    return "job-rent"


async def asks(store: Store) -> None:
    await rented.put(
        store, phase=RentalPhase.ASKING, question="3 machines are lost.\x1b]0;x\x07 Another?"
    )


async def ends(store: Store, status: JobStatus) -> None:
    await store.settle_job("job-rent", status, "it had to be")
    await rented.put(store, phase=RentalPhase.DONE)


@ANSWER_AS_TYPED
async def test_an_answer_is_written_down_for_the_controller(
    store: Store, job: str, typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await asks(store)
    assert await answer_job(job, typed) == 0

    stored = await store.rentals.get(job)
    assert stored is not None and stored.answer == "go on"
    assert "job-rent: answered. Nobody controls it now" in capsys.readouterr().err


async def test_what_is_no_answer_names_the_question_and_those_that_are(
    store: Store, job: str
) -> None:
    with pytest.raises(InvalidInput, match="asks nothing"):
        await answer_job(job, "stop")
    await asks(store)
    told = r'no answer to: 3 machines are lost.*`brightrun answer job-rent "go on"`, or "stop"'
    with pytest.raises(InvalidInput, match=told):
        await answer_job(job, "perhaps")
    stored = await store.rentals.get(job)
    assert stored is not None and stored.answer == ""


async def test_to_stop_is_to_cancel(store: Store, job: str) -> None:
    await asks(store)
    assert await answer_job(job, "stop") == 0

    stored = await store.rentals.get(job)
    assert stored is not None and (stored.wish, stored.answer) == (Wish.CANCEL, "")


@pytest.mark.parametrize(
    ("phase", "typed", "other"),
    [
        (RentalPhase.WAITING, "move", "go on"),
        (RentalPhase.CONNECTING, "SHA256:AbCd-_+/", "go on"),
        (RentalPhase.STARTING, "go on", "SHA256:AbCd"),
    ],
)
async def test_each_question_takes_answers_of_its_own(
    store: Store, job: str, phase: RentalPhase, typed: str, other: str
) -> None:
    await rented.put(store, phase=phase, question="What now?")
    with pytest.raises(InvalidInput, match="no answer to: What now"):
        await answer_job(job, other)
    assert await answer_job(job, typed) == 0

    stored = await store.rentals.get(job)
    assert stored is not None and stored.answer == typed


async def test_show_tells_phase_turn_deadline_reason_machines_and_money(
    store: Store, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = rented.machine(
        state=MachineState.GONE,
        gone_at=rented.BEGIN + timedelta(hours=2),
        end_reason="lost",
    )
    await store.rentals.intend(gone)
    await store.rentals.note(job, utc_now(), "machine 1 is lost")
    await asks(store)
    await store.rentals.take_lease("me", "serve on box (pid 7)", utc_now(), timedelta(minutes=1))
    await rented.put(store, interruptions=1, reason="no stock")

    assert await show_job(job, as_json=False) == 0

    out = capsys.readouterr().out
    for part in (
        "phase            asking since",
        "whose turn       it is your turn",
        "controller       serve on box (pid 7) controls it.",
        "reason           no stock",
        "question         3 machines are lost. Another?",
        "cost so far      $4.78 of $20.00",
        "GPU hours        2.00",
        "interruptions    1 of 3 interruptions",
        "volume           vol-1",
        "at the provider  nothing is paid for",
        "machine 1: H100_PCIE secure US-KS-2, gone after 2:00:00, $4.78 at $2.39/h (lost)",
        'Answer with `brightrun answer job-rent "go on"`, or "stop".',
        "machine 1 is lost",
    ):
        assert part in out
    assert "\x1b" not in out and "\x07" not in out
    assert "host             runpod\n" in out


async def test_show_tells_what_the_gpus_do_and_what_they_cost_idle(
    store: Store, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = utc_now() - timedelta(minutes=6)
    await store.rentals.intend(rented.machine(created_at=begin, rented_at=begin))
    idle = GpuSample(gpus=(GpuReading(index=0, utilisation_percent=0, temperature_c=40),))
    training = stage(JobStatus.TRAINING, Activity.TRAINING)
    records = journal(started(), training, *[idle] * 6, job_id=job)
    times = [begin + timedelta(minutes=place) for place in range(1, len(records) + 1)]
    recent = [
        record.model_copy(update={"time": time - timedelta(minutes=2)})
        for record, time in zip(records, times, strict=True)
    ]
    await store.apply_records(job, recent)

    assert await show_job(job, as_json=False) == 0

    out = capsys.readouterr().out
    assert "GPU 0            0 %, 40 C\n" in out
    assert "idle             GPU idle for 5 min while training, paid $2.39/h\n" in out


async def test_show_as_json_has_the_whole_rental(
    store: Store, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await store.rentals.intend(rented.machine(state=MachineState.RENTED))
    await rented.put(store, phase=RentalPhase.CONNECTING, machine=rented.machine().name)

    assert await show_job(job, as_json=True) == 0

    rental = json.loads(capsys.readouterr().out)["rental"]
    assert (rental["phase"], rental["owner"], rental["wish"]) == ("connecting", "controller", "run")
    assert rental["request"]["budget_usd"] == 20.0
    assert rental["deadline"] is not None and rental["controlled_by"] is None
    assert rental["cost_usd"] > 0
    assert [machine["state"] for machine in rental["machines"]] == ["rented"]


async def test_jobs_shows_what_is_being_done_for_it(
    store: Store, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await store.note_activity(job, Activity.WAITING_FOR_ANSWER, "")
    assert await list_jobs([], as_json=False) == 0
    assert "waiting for an answer" in capsys.readouterr().out


async def test_cancel_is_a_wish_that_outlives_the_command(
    store: Store, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cancel_job(job, "too dear") == 0

    stored = await store.rentals.get(job)
    assert stored is not None and (stored.wish, stored.wish_reason) == (Wish.CANCEL, "too dear")
    err = capsys.readouterr().err
    assert "Nobody controls it now" in err and "job-rent is being cancelled" in err


async def test_a_retry_rents_again_only_with_consent_and_for_the_budget_that_is_given(
    store: Store, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await ends(store, JobStatus.FAILED)

    with pytest.raises(InvalidInput, match="--yes"):
        await retry_job(job, RetryOptions())
    assert len(await store.list_jobs()) == 1
    assert await retry_job(job, RetryOptions(budget_usd=7.5, yes=True)) == 0

    again, _ = await store.list_jobs()
    stored, before = await store.rentals.get(again.job_id), await store.rentals.get(job)
    assert stored is not None and before is not None
    assert again.retry_of == job
    assert stored.request == before.request.model_copy(update={"budget_usd": 7.5})
    assert stored.rental.phase is RentalPhase.QUEUED
    assert "Nobody controls it now" in capsys.readouterr().err


async def test_a_resumption_goes_on_from_the_checkpoint_on_the_same_volume(
    store: Store, job: str
) -> None:
    committed = CheckpointCommitted(
        step=3, path="step-3", manifest_sha256="d" * 64, size_bytes=1, seconds=0.1
    )
    await store.apply_records(job, journal(started(), committed, job_id=job))
    await ends(store, JobStatus.FAILED)

    with pytest.raises(InvalidInput, match="--yes"):
        await resume_job(job, ResumeOptions())
    assert await resume_job(job, ResumeOptions(budget_usd=30.0, yes=True)) == 0

    again, _ = await store.list_jobs()
    stored = await store.rentals.get(again.job_id)
    assert stored is not None
    assert (stored.request.budget_usd, stored.request.network_volume_id) == (30.0, "vol-1")
    assert again.spec.resume_from is not None and again.spec.resume_from.step == 3


@pytest.fixture
def at_home(home: Path) -> Callable[[], Path]:
    """What the controller brought home."""

    def write() -> Path:
        directory = home / "adapters" / "job-rent" / "adapter"
        directory.parent.mkdir(parents=True, exist_ok=True)

        def fill(path: Path) -> dict[str, object]:
            (path / "adapter_model.safetensors").write_bytes(b"weights")
            return {}

        commit(directory, fill)
        return directory

    return write


async def saved(store: Store, sha256: str) -> None:
    event = AdapterSaved(path="adapter", manifest_sha256=sha256, size_bytes=7, file_count=2)
    records = journal(started(), event, job_id="job-rent")
    await store.apply_records("job-rent", records)


async def test_fetch_copies_the_adapter_that_the_controller_brought_home(
    store: Store,
    job: str,
    at_home: Callable[[], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await saved(store, manifest_sha256(at_home()))

    for _ in range(2):  # Again, it finds what it has copied.
        assert await fetch_job(job, tmp_path / "here") == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / "here" / job)
    copied = tmp_path / "here" / job / "adapter" / "adapter_model.safetensors"
    assert copied.read_bytes() == b"weights"

    copied.write_bytes(b"changed")
    with pytest.raises(InvalidInput, match="is not this adapter"):
        await fetch_job(job, tmp_path / "here")


async def test_an_adapter_other_than_the_journals_or_damaged_is_not_handed_out(
    store: Store, job: str, at_home: Callable[[], Path], tmp_path: Path
) -> None:
    directory = at_home()
    await saved(store, "e" * 64)
    with pytest.raises(AdapterRejected, match="journal recorded eeeeeeeeeeee"):
        await fetch_job(job, tmp_path / "here")
    (directory / "adapter_model.safetensors").write_bytes(b"weighty")
    with pytest.raises(AdapterRejected):
        await fetch_job(job, tmp_path / "here")
    assert not (tmp_path / "here" / job).exists()


async def test_fetch_says_where_an_adapter_is_that_is_not_here(
    store: Store, job: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="as soon as it is"):
        await fetch_job(job, tmp_path)
    await ends(store, JobStatus.FAILED)
    with pytest.raises(InvalidInput, match="vol-1: `brightrun machines rescue job-rent`"):
        await fetch_job(job, tmp_path)


async def test_a_budget_is_for_rented_jobs(store: Store) -> None:
    await store.add_job(job_spec("job-own"), "local")
    await store.settle_job("job-own", JobStatus.FAILED, "no")
    with pytest.raises(InvalidInput, match="nothing is rented for job-own"):
        await retry_job("job-own", RetryOptions(budget_usd=5.0))
