"""Times an upload to Supabase Storage and its memory: `python -m scripts.bench_upload [MB]`.

A real TUS server on loopback; the product's client in a process of its own, and beside it curl on
the same server: in the same chunks of 6 MiB over one connection, and all in one request, which
Supabase does not offer. Goal: 0.9 of curl in chunks, under 60 MB for 1 GB. In turns, since times on
a shared machine drift.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
import jwt

from scripts.bench_table import Row, print_table
from tests.fakes.supabase.rig import SupabaseRig, missing

BUCKET = "model-artifacts"
ROUNDS = 3
GOAL_RATIO = 0.9
GOAL_MB = 60
CHUNK_BYTES = 6 * 2**20


def main() -> None:
    """Measure and print one table."""
    megabytes = int(sys.argv[1]) if sys.argv[1:] else 1000
    if reason := missing():
        sys.exit(reason)
    rig = SupabaseRig()
    try:
        rig.start_all()
        with tempfile.TemporaryDirectory(prefix="brightrun-bench-") as directory:
            print_table(measure(rig, Path(directory), megabytes), f"{megabytes:,} MB")
    finally:
        rig.remove()


def measure(rig: SupabaseRig, directory: Path, megabytes: int) -> list[Row]:
    """Every way in turns."""
    path = directory / "file"
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    chunks = _split(path, directory)
    ours, hashing, chunked, whole, peaks = [], [], [], [], []
    for number in range(ROUNDS):
        seconds, hash_s, peak_mb = _client(rig, path, f"ours-{number}", directory)
        ours.append(seconds)
        hashing.append(hash_s)
        peaks.append(peak_mb)
        chunked.append(_curl(rig, chunks, f"chunked-{number}", directory))
        whole.append(_curl(rig, [path], f"whole-{number}", directory))
        rig.fresh()
    sending = [total - part for total, part in zip(ours, hashing, strict=True)]
    goal = f"> {GOAL_RATIO}x"
    rate, rate_of_curl = megabytes / min(sending), megabytes / min(chunked)
    usual, usual_of_curl = megabytes / median(sending), megabytes / median(chunked)
    return [
        Row("sent by our client, the best", rate, "MB/s", rate_of_curl, "curl in 6 MiB", goal),
        Row("  the median", usual, "MB/s", usual_of_curl, "curl in 6 MiB"),
        Row("  the best, with the hash before", megabytes / min(ours), "MB/s"),
        Row("curl in one request, the best", megabytes / min(whole), "MB/s"),
        Row("peak memory of our client's process", max(peaks), "MB", goal=f"< {GOAL_MB} MB"),
    ]


def _client(rig: SupabaseRig, path: Path, name: str, directory: Path) -> tuple[float, float, float]:
    """Seconds in all, seconds of hashing before, and the peak of its memory in MB."""
    ledger = directory / f"{name}.json"
    arguments = [_endpoint(rig), str(path), name, _token(rig, name), str(ledger)]
    command = [sys.executable, "-m", "scripts.bench_upload_client", *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, hash_s, peak_mb = map(float, said.split())
    return seconds, hash_s, peak_mb


def _curl(rig: SupabaseRig, parts: list[Path], name: str, directory: Path) -> float:
    """Seconds of one curl process that sends all parts over one connection."""
    size = sum(part.stat().st_size for part in parts)
    token = _token(rig, name)
    headers = {"Tus-Resumable": "1.0.0", "x-signature": token}
    metadata = f"bucketName {_encoded(BUCKET)},objectName {_encoded(name)}"
    begin = {**headers, "Upload-Length": str(size), "Upload-Metadata": metadata}
    url = httpx.post(_endpoint(rig), headers=begin).headers["Location"]
    lines, offset = [], 0
    for part in parts:
        lines += [
            f'url = "{url}"',
            'request = "PATCH"',
            f'upload-file = "{part}"',
            "silent",
            "fail",
        ]
        lines += [f'header = "{key}: {value}"' for key, value in headers.items()]
        lines += [f'header = "Upload-Offset: {offset}"', 'header = "Expect:"']
        lines += ['header = "Content-Type: application/offset+octet-stream"', "next"]
        offset += part.stat().st_size
    config = directory / "curl.conf"
    config.write_text("\n".join(lines[:-1]))
    begun = time.perf_counter()
    subprocess.run(["curl", "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    question = "select metadata ->> 'size' as size from storage.objects where name = $1"
    [found] = rig.execute(question, name)
    assert int(found["size"]) == size
    return seconds


def _split(path: Path, directory: Path) -> list[Path]:
    """The file in chunks, for curl."""
    parts: list[Path] = []
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            parts.append(directory / f"part-{len(parts):05d}")
            parts[-1].write_bytes(chunk)
    return parts


def _endpoint(rig: SupabaseRig) -> str:
    # Not by the gateway: a proxy in Python would be all that is measured.
    return f"{rig.tus.url}/storage/v1/upload/resumable/sign"


def _token(rig: SupabaseRig, name: str) -> str:
    now = int(time.time())
    claims = {"url": f"{BUCKET}/{name}", "owner": None, "iat": now, "exp": now + 7200}
    return jwt.encode(claims, rig.jwt_secret, algorithm="HS256")


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


if __name__ == "__main__":
    main()
