"""Providers by name; each is imported when it is first asked for."""

from __future__ import annotations

import os

from shared.errors import InvalidInput
from tui.config import Config
from tui.services.providers.provider import Provider

RUNPOD = "runpod"


def provider_named(name: str, config: Config) -> Provider:
    """The user's account there; nothing is asked yet.

    Raises:
        InvalidInput: there is no provider of that name.
        ProviderUnauthorized: there is no key to the account.
    """
    if name != RUNPOD:
        raise InvalidInput(f"{name!r} is no provider; there is {RUNPOD}.")
    from tui.services.providers.runpod.api_key import api_key_from, base_url_from
    from tui.services.providers.runpod.provider import RunpodProvider

    return RunpodProvider(api_key_from(os.environ, config.home), base_url_from(os.environ))
