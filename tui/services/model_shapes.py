"""The shape of a base model, from its `config.json`: for memory and time, before any start. Blocks.

A model of ours is known by heart; a model of the hub is looked for in the hub's cache, and its
configuration, some kilobytes, fetched into it where that is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from shared.errors import InvalidBaseModel
from shared.job_spec import JobSpec
from shared.model_shape import BUILT_SHAPES, ModelShape, read_shape
from tui.services.hosts.names import LOCAL, RUNPOD
from tui.services.hub_files import hub_file, is_hub_id
from tui.services.hub_models import HubModel, require_hub_model

CONFIG = "config.json"
HOW_TO_GIVE = f"give its {CONFIG} with --config FILE"


@dataclass(frozen=True, slots=True)
class FoundShape:
    """The shape; else None and the reason, a sentence without an end."""

    shape: ModelShape | None
    reason: str = ""
    hub: HubModel | None = None
    """What the hub lists of it, where it was asked: before something is rented."""


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


def shape_for_rent(spec: JobSpec) -> FoundShape:
    """Of the job's base model, fetched where it is not here, since prices and disks hang on it.

    Raises:
        InvalidBaseModel: the hub would not give it to a rented machine; nothing was rented.
    """
    hub = require_hub_model(spec.base_model, spec.base_model_revision)
    revision = spec.base_model_revision if hub is None else hub.commit
    found = model_shape(spec.base_model, revision, RUNPOD, may_fetch=True)
    return replace(found, hub=hub)
