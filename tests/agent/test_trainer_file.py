from __future__ import annotations

import json
from pathlib import Path

import agent
from shared.events import AttemptEnded
from shared.lifecycle import StopReason
from tests.agent.conftest import TRAINER_COMMAND


async def test_a_trainer_named_by_the_root_trains_the_next_job(pod):
    supervisor = await pod.supervisor(trainer_command=None)
    spec = pod.spec("steps=2")
    pod.root.trainer_path.write_text(json.dumps({"command": TRAINER_COMMAND, "key": "abc"}))

    await supervisor.start(spec)

    records = await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.status == "completed"
    assert isinstance(records[-1].event, AttemptEnded)


async def test_a_file_that_names_no_trainer_fails_the_job_and_is_named_in_the_reason(pod):
    supervisor = await pod.supervisor(trainer_command=None)
    spec = pod.spec("steps=2")
    pod.root.trainer_path.write_text('{"command": []}')

    await supervisor.start(spec)

    ended = (await pod.until_final(supervisor))[-1].event
    assert ended.stop_reason is StopReason.TRAINER_CRASHED
    assert str(pod.root.trainer_path) in ended.detail


async def test_the_address_says_which_code_runs_and_in_which_python(pod):
    await pod.start_agent()
    address = pod.address()
    assert address.code == str(Path(agent.__file__).parent.parent)
    assert address.python == TRAINER_COMMAND[0]
