"""The tokenizer of a base model on the Hugging Face hub: a few megabytes, for exact token counts.

Its chat template comes with it, and then lies beside it in the hub's cache.

Who cannot have it counts by an estimate, and is told why. Blocks.
"""

from __future__ import annotations

from shared.base_models import TEMPLATE_FILES, read_template
from tui.services.hub_files import HubFile, hub_file


def hub_tokenizer(
    base_model: str, revision: str | None = None, *, may_fetch: bool = False
) -> HubFile:
    """The model's `tokenizer.json`, from the hub's cache or, where `may_fetch`, from the hub."""
    found = hub_file(base_model, "tokenizer.json", "tokenizer", revision, may_fetch=may_fetch)
    if found.path is not None:
        for name in reversed(TEMPLATE_FILES):
            if not read_template(found.path.parent):
                hub_file(base_model, name, "chat template", revision, may_fetch=may_fetch)
    return found
