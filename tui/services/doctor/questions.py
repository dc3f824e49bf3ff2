"""Asks a machine about itself: run there, from stdin, by its own Python; prints one line of JSON.

Standard library only, and no other module of ours: nothing is installed for it. What may hang gets
a few seconds. Web addresses stay here but for the host's name, since they may hold passwords.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MARK = "brightrun-answers:"
_GPU_TIMEOUT_S = 10.0
_INDEX_TIMEOUT_S = 10.0
_LARGEST_REPORT = 4_000_000
_PYPI = "https://pypi.org/simple"


def main(directory: str, *, with_index: bool) -> None:
    """`directory` is where things of ours lie or will lie; relative to the home."""
    with ThreadPoolExecutor(2) as pool:
        gpu = pool.submit(_gpu_report)
        index = pool.submit(_package_index) if with_index else None
        answers = {
            **_disk(Path.home() / directory),
            **_memory(),
            **gpu.result(),
            **(index.result() if index else {}),
        }
    answers["time"] = time.time()
    print("\n" + MARK + json.dumps(answers), flush=True)
    os._exit(0)  # A process that cannot be killed is not waited for.


def _disk(place: Path) -> dict[str, Any]:
    existing = next(path for path in (place, *place.parents) if path.is_dir())
    try:
        usage = shutil.disk_usage(existing)
    except OSError:
        return {}
    return {
        "disk_path": str(existing),
        "disk_free_bytes": usage.free,
        "disk_total_bytes": usage.total,
        "is_writable": os.access(existing, os.W_OK | os.X_OK),
    }


def _memory() -> dict[str, Any]:
    kib = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in _lines("/proc/meminfo"))
        if name in ("MemTotal", "MemAvailable")
    }
    if "MemTotal" not in kib:
        return {}
    total = kib["MemTotal"] * 1024
    limits = [
        int(line)
        for name in ("memory.max", "memory/memory.limit_in_bytes")
        for line in _lines(f"/sys/fs/cgroup/{name}")
        if line.isdigit()
    ]
    available = kib.get("MemAvailable", 0) * 1024
    return {
        "memory_total_bytes": min([total, *limits]),
        "memory_available_bytes": min([available, *limits]),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _gpu_report() -> dict[str, Any]:
    if shutil.which("nvidia-smi") is None:
        return {}
    command = f"nvidia-smi -q -x 2>&1 | head -c {_LARGEST_REPORT}"
    try:
        output = _run(["sh", "-c", command], _GPU_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return {"gpu_trouble": f"nvidia-smi did not answer within {_GPU_TIMEOUT_S:g} s."}
    if not output.startswith("<?xml"):
        return {"gpu_trouble": f"nvidia-smi said: {output[:200]}"}
    return {"gpu_report": output}


def _run(command: list[str], timeout_s: float) -> str:
    """What the command prints; it is ended with everything it started when its time is over."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return output


def _package_index() -> dict[str, Any]:
    settings = _pip_settings()
    index = settings.get("index-url") or _PYPI
    parts = urlsplit(index)
    told = {"index": parts.hostname or parts.scheme, "index_trouble": ""}
    try:
        context = ssl.create_default_context(cafile=settings.get("cert") or None)
        host = parts.netloc.rpartition("@")[2]  # urllib takes no user and password there
        url = parts._replace(netloc=host, path=parts.path.rstrip("/") + "/pip/").geturl()
        request = urllib.request.Request(url, headers={"User-Agent": "brightrun"}, method="HEAD")
        urllib.request.urlopen(request, timeout=_INDEX_TIMEOUT_S, context=context).close()
    except urllib.error.HTTPError as error:
        # Whoever answers that it wants a password is there; pip has the password.
        if error.code >= 500:
            told["index_trouble"] = f"answers {error.code}"
    except urllib.error.URLError as error:
        told["index_trouble"] = str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        told["index_trouble"] = type(error).__name__
    return told


def _pip_settings() -> dict[str, str]:
    """What pip would use here, by the option's name; the environment has the last word."""
    found: dict[str, str] = {}
    try:
        output = _run([sys.executable, "-m", "pip", "config", "list"], _INDEX_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        output = ""
    for line in sorted(output.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = value.strip("'\"")
    return found


if __name__ == "__main__":
    main(sys.argv[1], with_index=sys.argv[2:] == ["--index"])
