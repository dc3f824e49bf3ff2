"""What is written down when a job has ended, whoever saw it. Asks no machine and no provider."""

from __future__ import annotations

from shared.store.store import Store
from tui.services.kept_versions import keep_version
from tui.services.settled_forecasts import settle_forecast


async def settle_end(store: Store, job_id: str) -> None:
    """Put beside the forecast what it took, and make a version of what the job has made.

    Called again, it changes nothing.

    Raises:
        StoreError: the store cannot be read or written.
    """
    await settle_forecast(store, job_id)
    await keep_version(store, job_id)
