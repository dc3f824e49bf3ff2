"""The key that a machine's log promises is the key that its sshd shows."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import aclosing
from pathlib import Path

import asyncssh

from shared.machine_request import Candidate
from tests.fakes.runpod.server import fake_runpod
from tests.remote.remote_box import needs_a_box
from tui.services.providers.provider import MachineOrder, MachineStatus, RentedMachine
from tui.services.providers.runpod.host_keys_in_log import host_key_fingerprints
from tui.services.providers.runpod.provider import RunpodProvider

H100 = Candidate(gpu_type="H100_PCIE", data_center="US-KS-2", usd_per_hour=2.39)


async def _running(provider: RunpodProvider, machine_id: str) -> RentedMachine:
    async with asyncio.timeout(20):
        while True:
            machine = await provider.machine(machine_id)
            if machine is not None and machine.status is MachineStatus.RUNNING:
                return machine
            await asyncio.sleep(0.05)


async def _fingerprints(provider: RunpodProvider, machine_id: str) -> dict[str, str]:
    lines: list[str] = []
    async with asyncio.timeout(20), aclosing(provider.log_lines(machine_id)) as log:
        async for line in log:
            lines.append(line)
            if line.startswith("Start script"):
                return host_key_fingerprints(lines)
    raise AssertionError("the log ended")


async def _key_of(machine: RentedMachine) -> str:
    assert machine.ssh_host is not None and machine.ssh_port is not None
    async with asyncio.timeout(20):
        while True:
            try:
                key = await asyncssh.get_server_host_key(machine.ssh_host, machine.ssh_port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            assert key is not None
            return key.get_fingerprint()


@needs_a_box
async def test_the_log_tells_the_key_of_a_machine_whose_start_was_chained(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with fake_runpod() as fake:
        assert fake.api_key is not None
        provider = RunpodProvider(fake.api_key, fake.url, reconnect_pause_s=0.05)
        order = MachineOrder(
            name="brightrun-1",
            candidate=H100,
            image="runpod/pytorch:x",
            command=f"echo \"it's mine: $GREETING\"; exec bash '{fake.start_script}'",
            env={"PUBLIC_KEY": key.with_suffix(".pub").read_text(), "GREETING": "hello"},
            container_disk_gb=20,
            min_cuda="12.8",
        )
        rented = await provider.rent(order)
        promised = await _fingerprints(provider, rented.machine_id)
        shown = await _key_of(await _running(provider, rented.machine_id))
        async with aclosing(provider.log_lines(rented.machine_id)) as log:
            first = await anext(log)
        system = await provider.system_log(rented.machine_id)
        await provider.end(rented.machine_id)
        await provider.close()
        assert fake.violations == []

    assert shown in promised.values()
    assert first == "it's mine: hello"
    assert any("pulling image" in line for line in system)
