"""The shape of a base model, from its `config.json`: for memory and time, before any start. Blocks.

A model of ours is known by heart; a model of the hub is looked for in the hub's cache, and its
configuration, some kilobytes, fetched into it where that is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidBaseModel
from shared.model_shape import BUILT_SHAPES, ModelShape, read_shape
from tui.services.hosts.names import LOCAL
from tui.services.hub_files import hub_file, is_hub_id

CONFIG = "config.json"
HOW_TO_GIVE = f"give its {CONFIG} with --config FILE"


@dataclass(frozen=True, slots=True)
class FoundShape:
    """The shape; else None and the reason, a sentence without an end."""

    shape: ModelShape | None
    reason: str = ""


def model_shape(
    base_model: str,
    revision: str | None = None,
    host: str = LOCAL,
    *,
    may_fetch: bool = False,
) -> FoundShape:
    """What is known of the model here; a model that cannot be computed with is told as a reason."""
    if base_model in BUILT_SHAPES:
        return FoundShape(BUILT_SHAPES[base_model])
    try:
        if is_hub_id(base_model):
            found = hub_file(base_model, CONFIG, "configuration", revision, may_fetch=may_fetch)
            if found.path is None:
                return FoundShape(None, found.reason)
            return FoundShape(read_shape(found.path))
        if host != LOCAL:
            return FoundShape(None, f"{base_model} lies on {host}, and not here")
        return FoundShape(read_shape(Path(base_model) / CONFIG))
    except (InvalidBaseModel, OSError, ValueError) as error:  # Also a name that no path can have.
        return FoundShape(None, str(error).rstrip("."))
