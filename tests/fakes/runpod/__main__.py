"""The fake as a process of its own: prints its URL and key as one line of JSON, ends at SIGTERM."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.fakes.runpod.server import fake_runpod


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.runpod")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, help="directory for pods and volumes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-processes", action="store_true", help="pods run nothing")
    options = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with fake_runpod(
        processes=not options.no_processes,
        seed=options.seed,
        port=options.port,
        directory=options.state,
    ) as fake:
        print(json.dumps({"url": fake.url, "api_key": fake.api_key}), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    sys.exit(0)


main()
