"""Uploads one file by the product's client, for `scripts.bench_upload`, and nothing else.

    python -m scripts.bench_upload_client ENDPOINT FILE OBJECT TOKEN LEDGER

Prints the seconds it took, those of hashing alone, and the peak of this process's memory in MB:
Python, httpx and all.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import httpx

from shared.upload.client import upload_file
from shared.upload.file import UploadSource, measure
from shared.upload.ledger import FileLedger


async def upload(endpoint: str, path: str, name: str, token: str, ledger: str) -> None:
    """Upload it and print the figures."""

    async def next_token() -> str:
        return token

    source = UploadSource(Path(path), name, "model-artifacts")
    begun = time.perf_counter()
    async with httpx.AsyncClient() as http:
        await upload_file(http, endpoint, source, FileLedger(Path(ledger)), next_token)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    measure(source)
    hash_s = time.perf_counter() - begun
    print(seconds, hash_s, _peak_mb())


def _peak_mb() -> float:
    # Not ru_maxrss: it counts what the process was before exec, a copy of the benchmark.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    asyncio.run(upload(*sys.argv[1:]))
