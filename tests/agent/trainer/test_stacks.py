from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes, os, signal, threading
from agent.trainer.__main__ import show_stacks

def holds_the_interpreter():
    ctypes.PyDLL(None).kill(os.getpid(), signal.SIGUSR2)

show_stacks()
waiting = threading.Thread(target=threading.Event().wait, daemon=True)
waiting.start()
holds_the_interpreter()
ctypes.string_at(0)
"""


def test_the_trainer_writes_its_stacks_when_asked_and_when_native_code_crashes() -> None:
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    asked, crashed = answer.stderr.split("Fatal Python error: Segmentation fault")
    assert "in holds_the_interpreter" in asked
    assert asked.count("most recent call first") == 2
    assert "in string_at" in crashed
