"""The Hugging Face hub on loopback, as far as models are read from it.

It answers as the real one does: `GET /api/models/REPO[/revision/REV]`, `HEAD|GET
/REPO/resolve/REV/FILE` with ETags and ranges, and the error codes in its headers. Give its
`endpoint` as HF_ENDPOINT to a process of its own: the client reads that at import.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

COMMIT = "c0ffee" + 34 * "0"
"""Of every repository's `main`, unless a test says otherwise."""

_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?")


@dataclass
class FakeRepo:
    """One model. Its files are the same at each of its commits."""

    files: dict[str, bytes]
    branches: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    is_gated: bool = False

    @classmethod
    def of(cls, directory: Path, **values: Any) -> FakeRepo:
        """The files in a directory."""
        return cls({path.name: path.read_bytes() for path in sorted(directory.iterdir())}, **values)

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}

    def commit_of(self, revision: str) -> str | None:
        if revision in self.branches.values():
            return revision
        return self.branches.get(revision)


Handler = Callable[["HubRequest", str], bool]


class FakeHub:
    """Repositories by name; what was asked stands in `asked`, as `GET /path`."""

    def __init__(self) -> None:
        self.repos: dict[str, FakeRepo] = {}
        self.asked: list[str] = []
        self.readers: set[str] = set()
        """Tokens of accounts that were let in to the gated ones."""
        self.strangers: set[str] = set()
        """Tokens that are good, and of accounts that were not let in."""
        self.fault: Handler | None = None
        """Asked first, with the path; True if it has dealt with the request itself."""
        self.endpoint = ""

    def downloads(self, file: str) -> int:
        """How often the bytes of a file were asked for."""
        return sum(each.startswith("GET ") and each.endswith(f"/{file}") for each in self.asked)


@contextmanager
def running_hub(hub: FakeHub) -> Iterator[FakeHub]:
    """Serves it until the block is left."""

    class Bound(HubRequest):
        served = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Bound) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def ask_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str, home: Path) -> None:
    """Have the client in this very process ask that hub, without the token of whoever tests."""
    from huggingface_hub import constants

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


class HubRequest(BaseHTTPRequestHandler):
    """One question; a test's `fault` may answer it instead."""

    served: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.served.asked.append(f"{self.command} {path}")
        if self.served.fault is not None and self.served.fault(self, path):
            return
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.served.readers | self.served.strangers:
            self.refuse(401, message="Invalid credentials in Authorization header")
        elif (match := _API.fullmatch(path)) is not None:
            self._list(match[1], match[2] or "main", with_sizes="blobs" in parse_qs(parts.query))
        elif (match := _RESOLVE.fullmatch(path)) is not None:
            self._resolve(match[1], match[2], match[3], token)
        else:
            self.refuse(404)

    def _list(self, name: str, revision: str, *, with_sizes: bool) -> None:
        """The list of a gated model is open to everybody."""
        repo = self.served.repos.get(name)
        commit = None if repo is None else repo.commit_of(revision)
        if repo is None:
            self.refuse(401, "RepoNotFound")  # As the real one, which tells nobody what is private.
        elif commit is None:
            self.refuse(404, "RevisionNotFound", message=f"Invalid rev id: {revision}")
        else:
            siblings = [self._sibling(repo, file, with_sizes) for file in repo.files]
            body = {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
            gated = "manual" if repo.is_gated else False
            content = json.dumps({**body, "gated": gated, "private": False}).encode()
            self.send(200, content, {"Content-Type": "application/json"})

    def _sibling(self, repo: FakeRepo, file: str, with_sizes: bool) -> dict[str, Any]:
        if not with_sizes:
            return {"rfilename": file}
        size, sha256 = len(repo.files[file]), repo.hashes[file]
        described: dict[str, Any] = {"rfilename": file, "size": size, "blobId": sha256[:40]}
        if file.endswith(".safetensors"):
            described["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
        return described

    def _resolve(self, name: str, revision: str, file: str, token: str) -> None:
        repo = self.served.repos.get(name)
        commit = None if repo is None else repo.commit_of(revision)
        if repo is None:
            self.refuse(401 if not token else 404, "RepoNotFound")
        elif repo.is_gated and token not in self.served.readers:
            self.refuse(403 if token else 401, "GatedRepo")
        elif commit is None:
            self.refuse(404, "RevisionNotFound", message=f"Invalid rev id: {revision}")
        elif file not in repo.files:
            self.refuse(404, "EntryNotFound", headers={"X-Repo-Commit": commit})
        else:
            self._send_file(repo, file, commit)

    def _send_file(self, repo: FakeRepo, file: str, commit: str) -> None:
        content, total = repo.files[file], len(repo.files[file])
        headers = {
            "ETag": f'"{repo.hashes[file]}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.send(200, content, headers)
            return
        begin, end = int(wanted[1]), min(int(wanted[2] or total - 1), total - 1)
        if begin >= total:
            self.send(416, b"", {**headers, "Content-Range": f"bytes */{total}"})
            return
        headers["Content-Range"] = f"bytes {begin}-{end}/{total}"
        self.send(206, content[begin : end + 1], headers)

    def refuse(
        self,
        status: int,
        code: str = "",
        *,
        message: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """An error as the hub tells it."""
        told = {"X-Error-Code": code, "X-Error-Message": message}
        said = {name: value for name, value in told.items() if value}
        self.send(status, b"", {**said, **(headers or {})})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        """One whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
