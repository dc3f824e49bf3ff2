"""Which base models a request may name: whoever may start a job may not look around the disk."""

from __future__ import annotations

from shared.base_models import BUILT_MODELS
from tui.services.hub_files import is_hub_id
from tui.services.web_api.problems import FieldProblem, ProblemError


def checked_model(name: str) -> str:
    """The name, if it is a model of the hub or one that we build.

    Raises:
        ProblemError: it is neither, such as a directory of this machine.
    """
    if name in BUILT_MODELS or is_hub_id(name):
        return name
    message = f"is no model of the hub (organisation/model), nor one of {', '.join(BUILT_MODELS)}."
    raise ProblemError(
        422, f"base_model: {message}", errors=[FieldProblem(field="base_model", message=message)]
    )
