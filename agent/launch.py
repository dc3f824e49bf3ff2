"""Starts a trainer through its shim, and reads what the shim wrote down.

Everything here may be done twice, by two agents one after the other, without ever starting a second
trainer for the same attempt: see `agent.shim` for why. All functions block.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from agent import shim
from agent.fence import MachineMark, read_mark
from agent.process import ProcessIdentity, is_alive
from agent.run_directory import AgentRoot, AttemptDirectory
from shared.pod_start import TOKEN_FILE

DEFAULT_TRAINER_COMMAND = (sys.executable, "-P", "-m", "agent.trainer")
"""The attempt's directory is added as the last argument."""

# fmt: off
_ALLOWED_NAMES = frozenset({
    "PATH", "HOME", "USER", "LANG", "LANGUAGE", "TMPDIR", "TZ", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
})
_ALLOWED_PREFIXES = (
    "LC_", "XDG_", "PYTHON", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "PYTORCH_", "TORCH", "OMP_",
    "MKL_", "HF_", "TOKENIZERS_",
)
# fmt: on

_HUB_PLACES = frozenset(
    {
        "HF_HUB_CACHE",
        "HF_XET_CACHE",
        "HF_ASSETS_CACHE",
        "HF_DATASETS_CACHE",
        "HF_MODULES_CACHE",
        "HF_TOKEN_PATH",
    }
)
"""What stands above HF_HOME (environment variables of huggingface_hub 2.4 and datasets 5.2)."""

_POLL_S = 0.02


class TrainerFile(BaseModel):
    """`trainer.json`: what starts the trainer on this machine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    command: tuple[str, ...] = Field(min_length=1)
    key: str | None = None
    """Names the pins of an environment that was made for it; None is the user's own."""


class ShimRecord(BaseModel):
    """`shim.json`: who runs, or ran, the attempt."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    shim_pid: int
    shim_start_time: int
    trainer_pid: int
    trainer_start_time: int
    boot_id: str

    @property
    def shim(self) -> ProcessIdentity:
        return ProcessIdentity(self.shim_pid, self.shim_start_time, self.boot_id)

    @property
    def trainer(self) -> ProcessIdentity:
        return ProcessIdentity(self.trainer_pid, self.trainer_start_time, self.boot_id)


class ExitRecord(BaseModel):
    """`exit.json`: how the trainer ended; both codes are None where none ever ran."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    exit_code: int | None
    signal: int | None
    oom_kills: int | None
    """Processes that the kernel killed for want of memory meanwhile; None where it is not told."""
    kernel_messages: tuple[str, ...] | None = None
    """What the kernel said of killed processes and failed GPUs; None where that is not told."""
    kernel_pid: int | None = None
    """The trainer's pid as those messages have it; None where they count in another way."""


def trainer_command(root: AgentRoot) -> Sequence[str]:
    """What `trainer.json` says now, so that a new stack serves the next attempt."""
    try:
        return TrainerFile.model_validate_json(root.trainer_path.read_bytes()).command
    except FileNotFoundError:
        return DEFAULT_TRAINER_COMMAND
    except ValueError:
        # The shim's complaint about it, in the job's log, is how the user learns of the file.
        return (f"{root.trainer_path} (it is not a trainer.json; mend or remove it)",)


def start_trainer(attempt: AttemptDirectory, command: Sequence[str]) -> ShimRecord | None:
    """Start the attempt's trainer unless that was done before; None if it could not be started."""
    directory = str(attempt.path)
    environment = trainer_environment(os.environ)
    if (mark := read_mark(attempt.root.path)) is not None:
        environment = on_rented_machine(environment, attempt.root, mark)
    shim_command = [sys.executable, "-P", "-m", "agent.shim", directory]
    with attempt.log_path.open("ab") as log:
        subprocess.run(
            [*shim_command, "--", *command, directory],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=attempt.path,
            env=environment,
            start_new_session=True,
            check=False,
        )
    return settle(attempt, exit_code=shim.EXIT_CODE_NOT_STARTED)


def settle(attempt: AttemptDirectory, exit_code: int | None) -> ShimRecord | None:
    """Who runs the attempt; None once it is certain that no trainer of it ever runs.

    A shim on its way to starting the trainer is waited for. Where there is none, `exit.json` is
    written with `exit_code`, and a shim that is late finds it and gives up.
    """
    while True:
        record = read_shim(attempt)
        if record is not None or _sealed(attempt, exit_code):
            return record
        time.sleep(_POLL_S)


def read_shim(attempt: AttemptDirectory) -> ShimRecord | None:
    """None until a shim has written its record."""
    try:
        return ShimRecord.model_validate_json(attempt.shim_path.read_bytes())
    except FileNotFoundError:
        return None


def read_exit(attempt: AttemptDirectory) -> ExitRecord | None:
    """None until the attempt's end has been written down."""
    try:
        return ExitRecord.model_validate_json(attempt.exit_path.read_bytes())
    except FileNotFoundError:
        return None


def has_ended(attempt: AttemptDirectory, record: ShimRecord | None) -> bool:
    """True once nothing of the attempt runs any more and its exit record, if any, is written."""
    if record is None:
        return True
    # The shim writes exit.json before it ends; until then the end is not known completely.
    someone_lives = is_alive(record.trainer) or is_alive(record.shim)
    return not someone_lives or attempt.exit_path.exists()


def trainer_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of our environment the trainer may see; no token or secret of the agent's."""
    return {
        name: value
        for name, value in environment.items()
        if name in _ALLOWED_NAMES or name.startswith(_ALLOWED_PREFIXES)
    }


def on_rented_machine(
    environment: Mapping[str, str], root: AgentRoot, mark: MachineMark
) -> dict[str, str]:
    """With base models on the volume, where there is room for them and where they outlive us.

    Nothing may lead them to the container's small disk instead. The token for gated models lies on
    the tmpfs, where the console has put it.
    """
    kept = {name: value for name, value in environment.items() if name not in _HUB_PLACES}
    token_path = mark.run_directory / TOKEN_FILE
    token = {"HF_TOKEN_PATH": str(token_path)} if token_path.is_file() else {}
    return {**kept, "HF_HOME": str(root.hub_path), **token}


def _sealed(attempt: AttemptDirectory, exit_code: int | None) -> bool:
    lock = shim.take_lock(attempt.path)
    if lock is None:
        return False
    try:
        if attempt.shim_path.exists():
            return False
        if not attempt.exit_path.exists():
            shim.write_exit(attempt.path, exit_code=exit_code, signal_number=None)
        return True
    finally:
        os.close(lock)
