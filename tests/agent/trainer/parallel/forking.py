"""Processes forked from one that has imported the trainer and done nothing else.

Importing the trainer's libraries takes longer than a short training. A fork of the test's own
process would not do: torch cannot compute gradients in one whose parent has done so.
"""

from __future__ import annotations

import multiprocessing

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["agent.trainer.__main__", "agent.trainer.train"])
