"""Why training stops on purpose; `agent.trainer.__main__` maps each to a stop reason."""

from __future__ import annotations


class NonFinite(Exception):
    """Loss or gradient norm is NaN or infinite; the step was not applied."""

    def __init__(self, name: str, value: float, step: int) -> None:
        self.name = name
        super().__init__(f"{name} is {value} at step {step}; the step was not applied")


class Terminated(Exception):
    """SIGTERM: the step was finished and a checkpoint committed."""
