"""The files of the fake's one container image: its start script, and the machine's nvidia-smi."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.nvidia_smi import install, printing
from tests.fakes.runpod.catalogue import Gpu

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# As official images do: host keys made at the first start, their fingerprints printed, sshd beside
# the rest, and PID 1 waits; here without a child, so that SIGTERM to all leaves it there.
# The machine's PATH holds nvidia-smi in SSH shells too, as /usr/bin does.
_START = """#!/bin/bash
if [ -n "$PUBLIC_KEY" ]; then
    mkdir -p ~/.ssh ~/.sshd
    chmod 700 ~/.ssh
    echo "$PUBLIC_KEY" >> ~/.ssh/authorized_keys
    for type in ed25519 ecdsa; do
        key=~/.sshd/ssh_host_${type}_key
        [ -f $key ] || ssh-keygen -q -t $type -N '' -C "root@$RUNPOD_POD_ID" -f $key
    done
    cat > ~/.sshd/config <<CONFIG
ListenAddress 127.0.0.1:$RUNPOD_TCP_PORT_22
HostKey $HOME/.sshd/ssh_host_ed25519_key
HostKey $HOME/.sshd/ssh_host_ecdsa_key
AuthorizedKeysFile $HOME/.ssh/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowStreamLocalForwarding yes
Subsystem sftp internal-sftp
MaxStartups 100
SetEnv PATH=$PATH $SSH_ENVIRONMENT
CONFIG
    if [ "$(cat "${PATH%%:*}/sshd-mode")" = serve ]; then
        /usr/sbin/sshd -D -E ~/.sshd/log -f ~/.sshd/config &
    fi
    echo "SSH host keys:"
    for key in ~/.sshd/*.pub; do
        echo "Key: $key"
        ssh-keygen -lf $key
    done
fi
echo "Start script finished, pod is ready to use."
exec 9<> <(:)
while :; do read -r -u 9; done
"""


@dataclass
class Machine:
    """How the machine under one pod differs from what was ordered; None: as ordered."""

    gpu_name: str | None = None
    gpu_count: int | None = None
    memory_mib: int | None = None
    driver_version: str | None = None
    cuda_version: str | None = None
    price_factor: float = 1.0
    """The pod's `cost` against the catalogue's."""
    never_running: bool = False
    """It stays in STARTING."""
    pull_loop: bool = False
    """It stays in STARTING, and the system log tells of pulls that fail again and again."""
    sshd: str = "serve"
    """`serve`, or `silent`: RUNNING with an address where nothing listens."""
    shows_host_keys: bool = True
    """False: nothing of the container's output reaches the log."""
    disk_free_gb: float | None = None
    """What `df` says is free; None: as it is."""
    delay_s: float = 0.0
    """So much longer until it runs."""
    environment: dict[str, str] = field(default_factory=dict)
    """What every process there has in its environment, SSH shells included."""


def write_start_script(directory: Path) -> Path:
    """The image's start script, which others' commands chain to."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "start.sh"
    path.write_text(_START)
    path.chmod(0o755)
    return path


def install_machine(directory: Path, gpus: Sequence[Gpu], machine: Machine) -> Path:
    """The directory that goes first on a pod's PATH; without GPUs in the order no nvidia-smi."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sshd-mode").write_text(machine.sshd)
    if machine.disk_free_gb is not None:
        _replace_df(directory / "df", machine.disk_free_gb)
    if gpus:
        count = len(gpus) if machine.gpu_count is None else machine.gpu_count
        none = "echo 'No devices were found'; exit 6"
        install(directory, printing(_report(gpus[0], count, machine)) if count else none)
    return directory


def _replace_df(path: Path, free_gb: float) -> None:
    free_kib = int(free_gb * 10**9 / 1024)
    lines = (
        "Filesystem 1024-blocks Used Available Capacity Mounted on",
        f"overlay 52428800 {52428800 - free_kib} {free_kib} 99% /",
    )
    path.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    path.chmod(0o755)


def lose_gpu(directory: Path) -> None:
    """From now on nvidia-smi says what it says of a card that fell off the bus."""
    lost = "Unable to determine the device handle for GPU 0000:18:00.0: GPU is lost."
    replacement = directory / "new"
    install(replacement, f"echo '{lost}  Reboot the system to recover this GPU'; exit 15")
    os.replace(replacement / "nvidia-smi", directory / "nvidia-smi")


def _report(gpu: Gpu, count: int, machine: Machine) -> str:
    driver = machine.driver_version or gpu.driver_version
    cuda = machine.cuda_version or gpu.cuda_version
    total = machine.memory_mib or gpu.driver_memory_mib
    entries = [
        f"<gpu id='00000000:{24 + number * 18:02X}:00.0'>"
        f"<product_name>{machine.gpu_name or gpu.id}</product_name>"
        f"<minor_number>{number}</minor_number><fb_memory_usage><total>{total} MiB</total>"
        f"<reserved>551 MiB</reserved><used>2 MiB</used><free>{total - 553} MiB</free>"
        "</fb_memory_usage><utilization><gpu_util>0 %</gpu_util>"
        "<memory_util>0 %</memory_util></utilization></gpu>"
        for number in range(count)
    ]
    return (
        "<?xml version='1.0' ?><nvidia_smi_log>"
        f"<driver_version>{driver}</driver_version><cuda_version>{cuda}</cuda_version>"
        f"<attached_gpus>{count}</attached_gpus>{''.join(entries)}</nvidia_smi_log>"
    )
