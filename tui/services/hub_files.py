"""One small file of a model on the Hugging Face hub, such as its tokenizer or its configuration.

It is taken from the hub's own cache on this machine, or fetched into it where that is allowed: the
model itself never is. Who cannot have it is told why. Blocks.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
TIMEOUT_S = 5.0
"""For one answer of the hub."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """Where it lies; else None and the reason, a sentence without an end."""

    path: Path | None
    reason: str = ""


def is_hub_id(base_model: str) -> bool:
    """True for `organisation/model`, unless a directory here is called so."""
    return _HUB_ID.fullmatch(base_model) is not None and not Path(base_model).exists()


def hub_file(
    base_model: str,
    name: str,
    what: str,
    revision: str | None = None,
    *,
    may_fetch: bool = False,
) -> HubFile:
    """The model's file `name`, from the cache or, where `may_fetch`, from the hub.

    `what` is the word for it: "tokenizer". The token is the hub's usual one (`HF_TOKEN`, or what
    its login saved); `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` hold.
    """
    # Takes 0.2 s to import, and only models of the hub need it.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    quiet_hub()
    try:
        cached = hf_hub_download(base_model, name, revision=revision, local_files_only=True)
        return HubFile(Path(cached))
    except HFValidationError:  # As while a name is being typed: `meta-llama/Meta-`.
        return HubFile(None, f"{base_model} is no model id of the hub")
    except LocalEntryNotFoundError:
        if not may_fetch:
            return HubFile(None, f"the {what} of {base_model} is not on this machine")
    return _fetched(base_model, name, revision)


def quiet_hub() -> None:
    """Keep the hub's client from drawing bars and warnings across the console."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def hub_token() -> str | None:
    """The user's token for the hub: `HF_TOKEN`, or what its login saved; never to be shown."""
    from huggingface_hub import get_token

    return get_token()


def _fetched(base_model: str, name: str, revision: str | None) -> HubFile:
    from httpx2 import HTTPError  # what the hub's client lets through
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        # The download itself tries for 20 s to reach a hub that is not there.
        get_hf_file_metadata(hf_hub_url(base_model, name, revision=revision), timeout=TIMEOUT_S)
        return HubFile(Path(hf_hub_download(base_model, name, revision=revision)))
    except GatedRepoError:
        login = "set HF_TOKEN to the token of an account that has accepted its licence"
        reason = f"{base_model} is gated: {login}"
    except RepositoryNotFoundError:
        reason = f"the hub has no {base_model}, or shows it only with the right HF_TOKEN"
    except RevisionNotFoundError:
        reason = f"{base_model} has no revision {revision}"
    except EntryNotFoundError:
        reason = f"{base_model} has no {name}"
    except OfflineModeIsEnabled:
        return HubFile(None, "HF_HUB_OFFLINE forbids to ask the hub for it")
    except (HTTPError, OSError) as error:
        reason = f"the hub cannot be reached ({_first_line(error)})"
    return HubFile(None, reason)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
