"""How the fake provider behaves, as far as a test may change it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Settings:
    """How the provider behaves; a test may change any of it at any time. Delays are real time."""

    provisioning_s: float = 0.05
    starting_s: float = 0.05
    restart_after_s: float = 0.3
    """Until a container whose main process ended is started again."""
    grace_s: float = 0.5
    """Between SIGTERM and SIGKILL; five seconds at best in reality."""
    terminated_stays_listed: bool = False
    pod_key_may: str = "terminate"
    """What a pod's own key may do to it: `terminate`, `stop` only, or `nothing`."""
    quota_per_minute: int | None = None
    """By the fake's clock; more calls of one key are answered 429."""
    pull_fails_every_s: float = 0.2
    image_workspace: str = ""
    """What the image has below the usual mount path, for pods that mount no volume there."""
