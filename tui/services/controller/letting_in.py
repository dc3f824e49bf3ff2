"""Where a machine is, and which host key is its own: what is needed to get in.

The key is the one that the machine's own log has named, which comes from the provider over TLS;
nothing else is believed.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from shared.pod_start import CONTAINER_STARTS
from tui.services.providers.provider import Provider, RentedMachine
from tui.services.providers.runpod.host_keys_in_log import host_key_fingerprints
from tui.services.ssh.machine_files import MachineFiles

_KEY_TYPES = ("ED25519", "ECDSA", "RSA")
"""In the order in which our SSH asks for them."""
_LOG_PATIENCE_S = 8.0
_MORE_S = 0.5
"""After a key, for the start of a later container in the same log."""


async def note_address(files: MachineFiles, seen: RentedMachine) -> bool:
    """Write down where it is; True if its container began anew, or for the first time."""
    assert seen.ssh_host is not None and seen.ssh_port is not None
    host, port, user = seen.ssh_host, seen.ssh_port, seen.ssh_user or "root"
    is_new = await asyncio.to_thread(files.lead_to, host, port, user)
    if is_new:
        # It has made new host keys.
        await asyncio.to_thread(files.forget_host_key)
    return is_new


async def fingerprint_in(
    provider: Provider, machine_id: str, patience_s: float = _LOG_PATIENCE_S
) -> str | None:
    """The host key that the machine's log names; None while it names none.

    Raises:
        ProviderError: the log cannot be read.
    """
    lines: list[str] = []
    try:
        async with (
            asyncio.timeout(patience_s) as limit,
            aclosing(provider.log_lines(machine_id)) as log,
        ):
            async for line in log:
                if line.strip() == CONTAINER_STARTS:
                    lines.clear()  # A container that begins anew makes new keys.
                lines.append(line)
                if _KEY_TYPES[0] in host_key_fingerprints(lines):
                    limit.reschedule(asyncio.get_running_loop().time() + _MORE_S)
    except TimeoutError:
        pass  # A log goes on for ever.
    found = host_key_fingerprints(lines)
    return next((found[key_type] for key_type in _KEY_TYPES if key_type in found), None)
