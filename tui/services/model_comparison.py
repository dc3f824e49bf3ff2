"""Two to four versions beside each other, from what was written down of them when they were made.

A version whose job is gone is compared as well; it only has no curves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import InvalidInput
from shared.model_version import ModelVersion
from shared.store.stored import MetricsPoint
from tui.services.model_files import places
from tui.services.session import Session

LEAST, MOST = 2, 4


@dataclass(frozen=True, slots=True)
class ComparedVersion:
    """One of them."""

    version: ModelVersion
    points: tuple[MetricsPoint, ...]
    """What was measured, in order of the steps."""
    files: tuple[str, ...]
    """Where its files are, in words."""


async def compare_versions(
    session: Session, versions: Sequence[ModelVersion], *, least: int = LEAST
) -> list[ComparedVersion]:
    """In the order in which they were named.

    Raises:
        InvalidInput: fewer different ones than `least`, or more than four.
    """
    different = list({each.version_id: each for each in versions}.values())
    if not least <= len(different) <= MOST:
        raise InvalidInput(
            f"{len(different)} different versions: {LEAST} to {MOST} are compared with each other."
        )
    states = await session.store.models.upload_states()
    compared: list[ComparedVersion] = []
    for version in different:
        points = await session.store.metrics(version.job_id)
        uploaded = states.get(version.job_id, frozenset())
        files = await asyncio.to_thread(places, session.config, version, uploaded)
        compared.append(ComparedVersion(version, tuple(points), tuple(files)))
    return compared


def differing(versions: Sequence[ModelVersion]) -> list[str]:
    """The settings that are not the same in all of them, in the order of the first."""
    names = list(dict.fromkeys(name for each in versions for name in each.facts.settings))
    return [name for name in names if len({each.facts.settings.get(name) for each in versions}) > 1]
