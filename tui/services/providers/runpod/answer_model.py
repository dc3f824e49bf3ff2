"""The base of what is read of RunPod's answers; knows no answer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class AnswerModel(BaseModel):
    """Fields that are not named may come and go.

    An answer holds the environment of pods, so what is wrong with one is told without its values.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
