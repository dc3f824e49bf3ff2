"""Faults that a test scripts: which calls they meet, how often, and what happens then."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """One scripted fault. Without any effect it only counts the calls it meets.

    Calls are the product's; the control API is never met.
    """

    method: str = "*"
    path: str = ".*"
    """A regular expression, searched in the path."""
    times: int | None = 1
    """None: for ever."""
    skip: int = 0
    """This many calls pass first."""
    probability: float = 1.0

    after_doing: bool = False
    """Do what was asked first (ExecuteAndError, ExecuteAndTimeout); else it is not done."""
    status: int | None = None
    """Answer this. 204 to a DELETE is a lie: it is not done."""
    detail: str = "the fake was told to answer this"
    retry_after_s: int | None = None
    reset: bool = False
    """Reset the connection instead of an answer."""
    hang: bool = False
    """Never answer; the client's own timeout ends it."""
    delay_s: float = 0.0
    """Answer late."""
    omit: str | None = None
    """A regular expression: GET /v2/pods leaves out pods with such names."""
    pod: dict[str, Any] = field(default_factory=dict)
    """Makes a `Machine` with these fields for the pod that this call creates."""

    met: int = 0
    """How often it was met, since it was added."""

    @property
    def instead(self) -> bool:
        """Whether the answer is replaced."""
        return self.status is not None or self.reset or self.hang


class Faults:
    """The faults that stand, in the order of their adding; a call meets the first that fits."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._faults: list[Fault] = []

    def add(self, **fields: Any) -> Fault:
        """Script one; see the fields of `Fault`."""
        fault = Fault(**fields)
        re.compile(fault.path)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """No faults from now on."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this call meets, which is counted."""
        with self._lock:
            for fault in self._faults:
                if fault.method not in ("*", method) or not re.search(fault.path, path):
                    continue
                if fault.times == 0 or self._random.random() >= fault.probability:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                fault.met += 1
                return fault
        return None
