from __future__ import annotations

from pathlib import Path

from agent.fence import MachineMark
from agent.launch import on_rented_machine
from agent.run_directory import AgentRoot


def test_on_a_rented_machine_base_models_go_to_the_volume_whatever_the_image_says(tmp_path: Path):
    root = AgentRoot(Path("/workspace/brightrun/agent"))
    environment = {
        "PATH": "/bin",
        "HF_HOME": "/root/.cache/huggingface",
        "HF_HUB_CACHE": "/root/cache",
        "HF_HUB_OFFLINE": "1",
    }
    found = on_rented_machine(environment, root, MachineMark(1, tmp_path))
    assert found == {"PATH": "/bin", "HF_HOME": "/workspace/brightrun/hub", "HF_HUB_OFFLINE": "1"}


def test_the_token_of_the_hub_is_read_from_the_tmpfs_where_it_is_there(tmp_path: Path):
    (tmp_path / "hf-token").write_text("hf_canary")
    found = on_rented_machine({}, AgentRoot(Path("/w/agent")), MachineMark(1, tmp_path))
    assert found == {"HF_HOME": "/w/hub", "HF_TOKEN_PATH": str(tmp_path / "hf-token")}


async def test_a_trainer_of_a_rented_machine_sees_them(pod, limits, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", "/small/disk")
    pod.rent(1)
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1000 delay=0.05"), limits=limits())
    trainer = (await pod.trainer_of(1)).trainer
    await pod.until_step(1)
    environment = Path(f"/proc/{trainer.pid}/environ").read_bytes().split(b"\0")
    assert f"HF_HOME={pod.root.path.parent}/hub".encode() in environment
    assert not any(entry.startswith(b"HF_HUB_CACHE") for entry in environment)
