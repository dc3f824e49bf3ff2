"""Names of hosts, as they are typed and as the store keeps them; imports nothing heavy."""

from __future__ import annotations

from shared.clean_text import clean_line
from shared.errors import InvalidInput

LOCAL = "local"
"""The host that is always there: this machine."""

SSH_PREFIX = "ssh:"

RUNPOD = "runpod"
"""What is typed for a machine that is rented for the job."""

RUNPOD_PREFIX = "runpod:"
"""With the job's id: the machine that is rented for it, whichever it is at the moment."""


def checked_host_name(name: str) -> str:
    """The name as the store keeps it.

    Raises:
        InvalidInput: it names no host.
    """
    if name in (LOCAL, RUNPOD) or name.startswith(RUNPOD_PREFIX):
        return name
    if name.startswith(SSH_PREFIX):
        from tui.services.ssh.address import parse_ssh_name

        # `ssh://` is how an address is written where URLs are expected.
        rest = name.removeprefix(SSH_PREFIX).removeprefix("//").rstrip("/")
        parse_ssh_name(rest)
        return SSH_PREFIX + rest
    raise InvalidInput(
        f"host {clean_line(name)!r}: write local, runpod, ssh:NAME with a name of your "
        "~/.ssh/config, or ssh:user@host:port."
    )


def shown_host(name: str) -> str:
    """The name for people: which job a machine is rented for stands elsewhere."""
    return RUNPOD if name.startswith(RUNPOD_PREFIX) else clean_line(name)
