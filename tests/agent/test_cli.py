from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from shared.events import decode_journal_record
from shared.job_state import fold
from shared.lifecycle import JobStatus

COMMAND = [sys.executable, "-P", "-m", "agent.cli"]


def start_run(pod, *options, notes="", enter=()):
    arguments = ["run", str(pod.job_file(notes)), "--root", str(pod.root.path), *options]
    return subprocess.Popen(
        [*enter, *COMMAND, *arguments, "--trainer-command", pod.trainer_command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def finish(process):
    output, errors = await asyncio.to_thread(process.communicate, timeout=30)
    return process.returncode, output, errors


async def test_a_job_runs_headless_to_its_end(pod):
    code, output, errors = await finish(start_run(pod))
    assert (code, errors) == (0, "")
    for part in (
        "step 4/4  epoch",
        "loss 0.5000",
        "checkpoint at step 2",
        "adapter loads and generates",
        "completed",
    ):
        assert part in output
    code, again, _ = await finish(start_run(pod))
    assert (code, again) == (0, output)
    assert len(pod.shims()) == 1


async def test_json_output_is_the_journal(pod):
    code, output, _ = await finish(start_run(pod, "--json"))
    records = [decode_journal_record(line) for line in output.splitlines()]
    assert code == 0
    assert output == pod.attempt(1).journal_path.read_text()
    assert fold(records).status is JobStatus.COMPLETED


async def test_a_failed_job_exits_with_1(pod):
    code, output, _ = await finish(start_run(pod, notes="at=2 dies=crash until=9"))
    assert code == 1
    assert "trainer_crashed" in output


async def test_a_hang_is_found_after_as_long_as_was_asked_for(pod):
    code, output, _ = await finish(start_run(pod, "--hang-floor", "0.5", notes="at=2 dies=stopped"))
    assert code == 0
    assert "error: The trainer said nothing for 1." in output
    assert "attempt ended: trainer_hung" in output


async def test_an_interrupt_cancels_the_job(pod):
    process = start_run(pod, notes="steps=1000 delay=0.05")
    await pod.until_step(2)
    process.send_signal(signal.SIGINT)
    code, output, _ = await finish(process)
    assert code == 3
    assert "cancel requested: interrupted by SIGINT" in output


async def test_a_run_that_was_killed_goes_on_when_repeated(pod):
    notes = "steps=60 delay=0.05"
    process = start_run(pod, "--json", notes=notes)
    await pod.until_step(3)
    process.kill()
    await finish(process)
    code, output, _ = await finish(start_run(pod, "--json", notes=notes))
    assert code == 0
    assert "trainer_adopted" in output
    assert len(pod.shims()) == 1


async def test_a_run_beside_an_agent_refuses(pod):
    await pod.start_agent()
    code, _, errors = await finish(start_run(pod))
    assert code == 5
    assert "already runs here" in errors


def test_a_job_file_with_a_mistake_is_refused_in_one_line(pod):
    path = pod.job_file(job_id="No Such Id")
    answer = subprocess.run([*COMMAND, "run", str(path)], capture_output=True, text=True)
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1


def test_help_is_fast_and_imports_no_server():
    script = (
        "import sys, agent.cli; heavy = {'fastapi', 'pydantic', 'httpx', 'torch'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "options",
    [
        ("--nnodes", "2"),
        ("--nnodes", "2", "--node-rank", "2", "--rdzv-endpoint", "10.0.0.1:29400"),
    ],
)
async def test_half_a_rendezvous_is_refused_before_anything_is_started(pod, options):
    code, _, errors = await finish(start_run(pod, *options))
    assert code == 2
    assert errors.startswith("brightrun-agent: --nnodes ")
    assert "HOST:PORT of the machine of rank 0" in errors
    assert not pod.root.jobs()
