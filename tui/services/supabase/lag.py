"""How far Supabase is behind the store, in figures and in words; asks nobody but the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.events import utc_now
from shared.store.mirror_progress import Behind, MirrorFailure
from tui.services.session import Session
from tui.services.supabase.settings import load_settings

_FRESH_S = 10.0
"""While a job trains, there is always something under way."""
_FOR_ALL = (MirrorFailure.UNREACHABLE, MirrorFailure.UNAUTHORIZED, MirrorFailure.MISMATCH)
_WORDS = {
    MirrorFailure.UNREACHABLE: "unreachable",
    MirrorFailure.UNAUTHORIZED: "not allowed in",
    MirrorFailure.MISMATCH: "without our tables",
}


@dataclass(frozen=True, slots=True)
class MirrorLag:
    """What Supabase lacks as of a moment."""

    jobs: int
    """Jobs of which it lacks something, but for those it refuses."""
    since: datetime | None
    """When the oldest of that was written down; None where it lacks nothing."""
    failure: MirrorFailure | None = None
    """Why nothing goes there now; None where it does."""
    failing_since: datetime | None = None
    reason: str = ""
    refused: tuple[Behind, ...] = ()
    """Jobs that it refuses, or of which single rows were left out."""

    def behind_s(self, now: datetime) -> float:
        """0 where it lacks nothing."""
        return 0.0 if self.since is None else max((now - self.since).total_seconds(), 0.0)

    def words(self, now: datetime) -> str:
        """For a line on the screen: `up to date`, `12 s behind`, `unreachable since 14:03, ...`."""
        if self.failure is not None and self.failing_since is not None:
            since = f"{self.failing_since.astimezone():%H:%M}"
            # What matters most stands first: a line on the screen may be short.
            return f"{_WORDS[self.failure]} since {since}, nothing is lost: {self.reason}"
        behind_s = self.behind_s(now)
        words = "up to date" if behind_s < _FRESH_S else f"{_duration(behind_s)} behind"
        if not self.refused:
            return words
        jobs = "1 job" if len(self.refused) == 1 else f"{len(self.refused)} jobs"
        return f"{words}, {jobs} refused: {self.refused[0].error}"


async def lag(session: Session) -> MirrorLag | None:
    """None where no project is named.

    Raises:
        InvalidInput: the settings do not hold together.
        StoreError: the store cannot be read.
    """
    settings = load_settings()
    if settings is None:
        return None
    return lag_of(await session.store.mirror_progress.behind(settings.target))


def lag_of(behind: Sequence[Behind]) -> MirrorLag:
    """From all jobs of which something is lacking."""
    refused = tuple(each for each in behind if each.failure and each.failure not in _FOR_ALL)
    late = [each for each in behind if each not in refused]
    failing = min(
        (each for each in late if each.failing_since is not None),
        key=lambda each: each.failing_since or utc_now(),
        default=None,
    )
    since = min((each.since for each in late), default=None)
    if failing is None:
        return MirrorLag(len(late), since, refused=refused)
    return MirrorLag(
        len(late),
        since,
        MirrorFailure(failing.failure),
        failing.failing_since,
        failing.error,
        refused,
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
