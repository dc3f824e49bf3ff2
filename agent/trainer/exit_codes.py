"""How the trainer process ends; `agent.verdict` reads it together with the last event."""

from __future__ import annotations

EXIT_REPORTED = 3
"""The last event names the reason."""

EXIT_TERMINATED = 75
"""EX_TEMPFAIL of sysexits.h: stopped from outside; the next attempt goes on from a checkpoint."""
