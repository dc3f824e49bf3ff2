"""A job's id in the web application, whose tables and links know UUIDs only.

Every end computes the same one, so that a mirror, a webhook and an upload meet at one row whoever
sends it, and sending twice makes no second row.
"""

from __future__ import annotations

from uuid import UUID, uuid5

_NAMESPACE = UUID("6f1d2b1e-3c7a-5b8e-9d40-8a3f5e7c2b61")
"""Drawn once, at random, for this project."""


def web_job_id(store_mark: str, job_id: str) -> str:
    """The UUID of the job with this id in the store with this mark.

    An id that is a UUID already, as of a job that the web application has started, stays as it is.
    """
    try:
        if str(UUID(job_id)) == job_id:
            return job_id
    except ValueError:
        pass
    return str(uuid5(_NAMESPACE, f"{store_mark}/{job_id}"))
