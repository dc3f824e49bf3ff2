"""What renting at RunPod needs: the package, a key that the API takes, and machines in stock.

Asks for nothing that costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from shared.machine_request import Cloud, Stock
from shared.number_text import many
from shared.rental import MachineState
from shared.store.store import open_store
from tui.config import Config
from tui.services.controller.machine_names import job_of
from tui.services.doctor.checks import Check, Outcome, failure, ok, warning
from tui.services.providers.provider import Provider
from tui.services.providers.providers import RUNPOD, provider_named
from tui.services.providers.runpod.api_key import KEY_VARIABLE, api_key_from, base_url_from

_USUAL = ("H100_PCIE", "H100_SXM", "H100_NVL", "A100_80GB")
"""The types that a job of 70B parameters is meant for."""


@dataclass
class RunpodAccount:
    """The account, and what was found out about it so far."""

    config: Config
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    provider: Provider | None = None

    async def close(self) -> None:
        """Let go of the connection."""
        if self.provider is not None:
            await self.provider.close()

    @property
    def asked(self) -> Provider:
        assert self.provider is not None, "checked before"
        return self.provider


async def look_at_extra(_: RunpodAccount) -> Outcome:
    """RunPod's own package, which is an extra."""
    try:
        return ok(f"runpod {version('runpod')}")
    except PackageNotFoundError:
        return failure("not installed", "pip install 'brightrun[runpod]'")


async def look_at_key(account: RunpodAccount) -> Outcome:
    """Whether there is one; its value is never shown."""
    api_key_from(account.environ, account.config.home)
    account.provider = provider_named(RUNPOD, account.config)
    is_variable = bool(account.environ.get(KEY_VARIABLE, "").strip())
    return ok(KEY_VARIABLE if is_variable else "a file that only you can read")


async def look_at_api(account: RunpodAccount) -> Outcome:
    """Whether the API takes the key, and what is rented now."""
    machines = await account.asked.machines()
    address = base_url_from(account.environ)
    return ok(f"{address} answers; {many(len(machines), 'machine')} in the account")


async def look_at_volumes(account: RunpodAccount) -> Outcome:
    """On one of them a job outlives its machine."""
    volumes = await account.asked.volumes()
    if not volumes:
        return warning("none", "`brightrun start --volume new` makes one, after asking.")
    return ok("; ".join(f"{each.name} ({each.size_gb} GB, {each.data_center})" for each in volumes))


async def look_at_stock(account: RunpodAccount) -> Outcome:
    """Whether one of the usual GPUs is to be had at this moment."""
    offers = await account.asked.offers(_USUAL, 1, [Cloud.SECURE])
    prices: dict[str, float] = {}
    for offer in offers:
        if offer.stock is not Stock.NONE:
            least = prices.get(offer.gpu_type, offer.usd_per_hour)
            prices[offer.gpu_type] = min(least, offer.usd_per_hour)
    if not prices:
        return warning(f"none of {', '.join(_USUAL)}", "A job waits for stock (--wait-hours).")
    cheapest = sorted(prices.items(), key=lambda item: item[1])
    return ok("; ".join(f"{gpu_type} ${price:.2f}/h" for gpu_type, price in cheapest))


async def look_at_orphans(account: RunpodAccount) -> Outcome:
    """Machines with our mark that no open job has; a store that is not there has none."""
    if not account.config.database_path.exists():
        return ok("nothing was rented yet")
    async with open_store(account.config.database_path) as store:
        mark = await store.rentals.mark()
        serving = {stored.rental.machine for stored in await store.rentals.open_ones()}
        ending = {each.name for each in await store.rentals.machines(states=[MachineState.ENDING])}
    names = {machine.name for machine in await account.asked.machines()}
    orphans = {name for name in names if job_of(name, mark)} - serving - ending
    if orphans:
        fix = "`brightrun machines` shows them, `brightrun machines reap` ends them."
        return warning(f"{many(len(orphans), 'machine')} paid for without a job", fix)
    return ok("none")


async def look_at_address(account: RunpodAccount) -> Outcome:
    """Where the key is sent."""
    return ok(base_url_from(account.environ))


RUNPOD_CHECKS = (
    Check("package", look_at_extra),
    Check("address", look_at_address),
    Check("API key", look_at_key, needs=("package", "address")),
    Check("API", look_at_api, needs=("API key",)),
    Check("network volumes", look_at_volumes, needs=("API",)),
    Check("stock", look_at_stock, needs=("API",)),
    Check("orphans", look_at_orphans, needs=("API",)),
)
