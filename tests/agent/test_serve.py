from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from agent.process import ProcessIdentity, boot_id, identify, is_alive, send_signal
from agent.serve import hold_lock, socket_directory
from shared.errors import AgentAlreadyRunning

COMMAND = [sys.executable, "-P", "-m", "agent.cli"]


async def run(*arguments):
    return await asyncio.to_thread(
        subprocess.run, [*COMMAND, *arguments], capture_output=True, text=True, timeout=30
    )


async def test_a_second_agent_on_the_same_root_refuses_and_names_the_first(pod):
    agent = await pod.start_agent()
    second = await run("serve", "--root", str(pod.root.path))
    assert second.returncode == 5
    assert second.stderr.startswith("brightrun-agent: ")
    assert str(agent.pid) in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_the_lock_is_free_again_after_its_holder(pod):
    with hold_lock(pod.root), pytest.raises(AgentAlreadyRunning), hold_lock(pod.root):
        pass
    with hold_lock(pod.root):
        pass


async def test_sigterm_ends_the_agent_and_leaves_the_trainer(pod):
    agent = await pod.start_agent()
    async with pod.client() as client:
        body = {"job": pod.spec("steps=1000 delay=0.05").model_dump(mode="json")}
        await client.post("/training/start", json=body)
    await pod.until_step(1)
    socket = pod.address().socket
    agent.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(agent.wait, 10) == 0
    assert not pod.root.address_path.exists()
    assert not os.path.exists(socket)
    trainer = (await pod.trainer_of(1)).trainer
    assert is_alive(trainer)
    send_signal(trainer, signal.SIGKILL)


async def test_token_and_id_stay_the_same_over_restarts(pod):
    seen = []
    for _ in range(2):
        agent = await pod.start_agent()
        async with pod.client() as client:
            seen.append((pod.authorization(), (await client.get("/health")).json()["agent_id"]))
        agent.kill()
        agent.wait()
    assert seen[0] == seen[1]


async def test_detaching_twice_leaves_one_agent(pod):
    arguments = ("serve", "--root", str(pod.root.path), "--detach")
    first, meanwhile = await asyncio.gather(run(*arguments), run(*arguments))
    identity = None
    try:
        assert (first.returncode, meanwhile.returncode) == (0, 0), first.stderr + meanwhile.stderr
        address = json.loads(first.stdout)
        identity = ProcessIdentity(address["pid"], address["start_time"], boot_id())
        assert is_alive(identity)
        again = await run(*arguments)
        assert json.loads(again.stdout) == json.loads(meanwhile.stdout) == address
        assert identify(identity.pid) == identity
        async with pod.client() as client:
            assert (await client.get("/health")).status_code == 200
    finally:
        if identity is not None:
            send_signal(identity, signal.SIGTERM)
    await pod.until(lambda: not is_alive(identity))
    assert not pod.root.address_path.exists()


async def test_a_socket_directory_that_is_not_ours_is_refused(pod, tmp_path):
    place = socket_directory(pod.root)
    place.symlink_to(tmp_path)
    try:
        answer = await run("serve", "--root", str(pod.root.path))
    finally:
        place.unlink()
    assert answer.returncode == 2
    assert str(place) in answer.stderr
    assert not pod.root.address_path.exists()


def test_stop_ends_the_agent_and_says_whether_there_was_one(pod):
    stop = [sys.executable, "-P", "-m", "agent.cli", "stop", "--root", str(pod.root.path)]
    started = subprocess.run(
        [*stop[:4], "serve", *stop[5:], "--detach"], capture_output=True, text=True, check=True
    )
    address = json.loads(started.stdout)
    assert subprocess.run(stop, capture_output=True, text=True, check=True).stdout == "stopped.\n"
    assert not is_alive(ProcessIdentity(address["pid"], address["start_time"], boot_id()))
    again = subprocess.run(stop, capture_output=True, text=True, check=True).stdout
    assert again.startswith("no agent runs in ")
