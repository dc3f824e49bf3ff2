from __future__ import annotations

import asyncio
import os
import shlex
import time
from pathlib import Path

import pytest

from agent.machine import Machine
from shared.agent_protocol import MachineFacts
from tests.fakes import nvidia_smi


@pytest.fixture
def put_nvidia_smi(tmp_path, monkeypatch):
    """Makes this shell script the machine's nvidia-smi; tells how often it was run."""
    log = tmp_path / "runs"
    log.touch()

    def put(script: str):
        logged = f"echo $$ >> {shlex.quote(str(log))}\n{script}"
        directory = nvidia_smi.install(tmp_path / "bin", logged)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        return lambda: [int(line) for line in log.read_text().split()]

    return put


async def test_the_gpus_are_those_that_nvidia_smi_names(tmp_path, put_nvidia_smi):
    put_nvidia_smi(nvidia_smi.printing(nvidia_smi.TWO_H100))

    facts = await Machine(tmp_path).facts()

    assert [gpu.memory_used_mib for gpu in facts.gpus] == [61234, 2]
    assert facts.gpu_trouble == ""


async def test_disk_memory_and_processors_are_plausible(tmp_path):
    facts = await Machine(tmp_path).facts()

    assert 0 < facts.disk_free_bytes <= facts.disk_total_bytes
    assert 0 < facts.memory_available_bytes <= facts.memory_total_bytes
    assert 1 <= facts.cpus <= (os.cpu_count() or 1)
    assert facts.load_1min is not None


async def test_a_machine_without_nvidia_smi_has_no_gpu_and_no_trouble(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    facts = await Machine(tmp_path).facts()

    assert (facts.gpus, facts.gpu_trouble) == ((), "")


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("sleep 60 & sleep 60", "did not answer within 0.3 s"),
        ("trap '' TERM; while :; do :; done", "did not answer within 0.3 s"),
        ("echo 'No devices were found'; exit 6", "ended with 6: No devices were found"),
        ("printf 'NVML: \\033]0;evil\\007mismatch'; exit 18", "ended with 18: NVML: mismatch"),
        ("echo '<<<<'", "printed something else than its report"),
    ],
)
async def test_an_nvidia_smi_that_hangs_or_fails_is_told_and_stops_nothing(
    tmp_path, put_nvidia_smi, script, trouble
):
    put_nvidia_smi(script)
    began = time.monotonic()

    facts = await Machine(tmp_path, gpu_timeout_s=0.3 if "within" in trouble else 10).facts()

    assert facts.gpus == ()
    assert trouble in facts.gpu_trouble
    assert "\x1b" not in facts.gpu_trouble
    assert facts.disk_total_bytes > 0
    assert time.monotonic() - began < 10


async def test_an_nvidia_smi_that_never_stops_printing_is_cut_off(tmp_path, put_nvidia_smi):
    put_nvidia_smi("exec yes '<gpu>'")

    facts = await Machine(tmp_path, gpu_timeout_s=30).facts()

    assert facts.gpu_trouble == "nvidia-smi does not stop printing."


async def test_a_hanging_nvidia_smi_is_ended_with_its_children_and_not_run_again_at_once(
    tmp_path, put_nvidia_smi
):
    child = tmp_path / "child"
    runs = put_nvidia_smi(f"sleep 60 & echo $! > {shlex.quote(str(child))}; wait")
    machine = Machine(tmp_path, fresh_s=0, gpu_timeout_s=2)

    first, second = await machine.facts(), await machine.facts()

    assert first.gpu_trouble == second.gpu_trouble != ""
    [pid] = runs()
    await until_gone(pid)
    await until_gone(int(child.read_text()))


async def until_gone(pid: int):
    """Until the process has ended; a zombie that nobody fetches counts."""
    async with asyncio.timeout(10):
        while True:
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                return
            if stat.rpartition(")")[2].split()[0] == "Z":
                return
            await asyncio.sleep(0.02)


async def test_many_who_ask_at_once_or_soon_after_cost_one_run(tmp_path, put_nvidia_smi):
    runs = put_nvidia_smi(nvidia_smi.printing(nvidia_smi.TWO_H100))
    machine = Machine(tmp_path, fresh_s=60)

    answers = await asyncio.gather(*(machine.facts() for _ in range(20)))
    answers.append(await machine.facts())

    assert len(runs()) == 1
    assert all(answer == answers[0] for answer in answers)


async def test_facts_that_are_old_are_asked_for_again(tmp_path, put_nvidia_smi):
    runs = put_nvidia_smi(nvidia_smi.printing(nvidia_smi.TWO_H100))
    machine = Machine(tmp_path, fresh_s=0)

    await machine.facts()
    await machine.facts()

    assert len(runs()) == 2


async def test_the_agent_answers_others_while_nvidia_smi_hangs(pod, put_nvidia_smi):
    runs = put_nvidia_smi("sleep 60")
    await pod.start_agent()
    async with pod.client() as client:
        asking = asyncio.create_task(client.get("/machine", timeout=30))
        await pod.until(lambda: bool(runs()))
        assert (await client.get("/health")).status_code == 200
        assert not asking.done()
        asking.cancel()
        await asyncio.wait({asking})


async def test_the_agent_tells_its_machine_to_those_with_the_token_only(pod, put_nvidia_smi):
    put_nvidia_smi(nvidia_smi.printing(nvidia_smi.TWO_H100))
    await pod.start_agent()
    async with pod.client() as client:
        facts = MachineFacts.model_validate_json((await client.get("/machine")).content)
        assert (await client.get("/machine", headers={"Authorization": ""})).status_code == 401

    assert [gpu.cuda for gpu in facts.gpus] == ["12.8", "12.8"]
    assert facts.disk_total_bytes > 0


async def test_nvidia_smi_gets_none_of_the_agents_secrets(tmp_path, put_nvidia_smi, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary_canary_canary")
    seen = tmp_path / "environment"
    put_nvidia_smi(f"env > {shlex.quote(str(seen))}")

    await Machine(tmp_path).facts()

    assert "canary" not in seen.read_text()
