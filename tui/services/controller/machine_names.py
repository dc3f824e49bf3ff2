"""How our machines are named, so that they are found again by whoever has only a list."""

from __future__ import annotations

_PREFIX = "brightrun"


def mark_prefix(mark: str) -> str:
    """What the names of one store's machines begin with."""
    return f"{_PREFIX}-{mark}-"


def machine_name(mark: str, job_id: str, number: int) -> str:
    """`brightrun-MARK-JOB-N`: never used twice."""
    return f"{mark_prefix(mark)}{job_id}-{number}"


def rescue_name(mark: str, job_id: str, number: int) -> str:
    """Of a machine that only brings home what is on a volume."""
    return f"{mark_prefix(mark)}{job_id}-rescue-{number}"


def cache_name(mark: str, volume_id: str, number: int) -> str:
    """Of a machine that looks after the base models on a volume; in the place of a job's id stands
    `volume_owner`."""
    return f"{mark_prefix(mark)}{volume_owner(volume_id)}-{number}"


def volume_owner(volume_id: str) -> str:
    """What stands for a job's id where a machine serves a volume and no job."""
    return f"volume--{volume_id}"


def job_of(name: str, mark: str) -> str | None:
    """The job for which a machine of ours was rented; None for a machine that is not ours."""
    prefix = mark_prefix(mark)
    if not name.startswith(prefix):
        return None
    job_id, _, number = name.removeprefix(prefix).rpartition("-")
    if not number.isdigit() or not job_id:
        return None
    return job_id.removesuffix("-rescue")
