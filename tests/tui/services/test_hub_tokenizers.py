"""A base model's tokenizer comes from a hub, here one on loopback that answers as the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from shared.base_models import read_template
from shared.dataset.sample import SAMPLE_JSON
from tests.shared.llama_70b import LLAMA_70B, LLAMA_70B_CONFIG
from tests.shared.small_tokenizer import small_tokenizer
from tui.services.hub_files import is_hub_id

CONTENT = small_tokenizer().to_str().encode()
CONFIG = json.dumps(LLAMA_70B_CONFIG).encode()
ERRORS = {
    "gated": (403, "GatedRepo"),
    "missing": (404, "RepoNotFound"),
    "without": (404, "EntryNotFound"),
}
"""Model -> status and the header `X-Error-Code`, as the hub's client tells them apart."""

LOOK = """
import json, sys
from tui.services.hub_tokenizers import hub_tokenizer
for may_fetch in json.loads(sys.argv[2]):
    found = hub_tokenizer(sys.argv[1], may_fetch=may_fetch)
    print(json.dumps([str(found.path or ""), found.reason]))
"""


SHAPE = """
import sys
from tui.services.model_shapes import model_shape
found = model_shape(sys.argv[1], may_fetch=True)
print(found.shape and found.shape.parameters, found.reason)
"""


class Hub(BaseHTTPRequestHandler):
    """`GET|HEAD /<organisation>/<model>/resolve/<revision>/<file>`."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        type(self).asked.append(f"{self.command} {self.path}")
        model = self.path.split("/")[2]
        status, code = ERRORS.get(model, (200, ""))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
        else:
            self.send_header("ETag", '"0123456789abcdef"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(self._content)))
        self.end_headers()
        if with_body and not code:
            self.wfile.write(self._content)

    @property
    def _content(self) -> bytes:
        return CONFIG if self.path.endswith("config.json") else CONTENT

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    Hub.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's client reads its settings at import."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**kept, "HF_HOME": str(home), "BRIGHTRUN_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def look(model: str, *may_fetch: bool, home: Path, **environment: str) -> list[list[str]]:
    """What is found, path and reason, by one look after the other."""
    finished = run("-c", LOOK, model, json.dumps(may_fetch), home=home, **environment)
    assert finished.stderr == ""  # It would be printed across the console.
    return [json.loads(line) for line in finished.stdout.splitlines()]


def endpoint(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_it_is_fetched_once_and_then_lies_here(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    before, fetched, after = look(
        "org/model", False, True, False, home=tmp_path, HF_ENDPOINT=endpoint(hub)
    )
    assert before == ["", "the tokenizer of org/model is not on this machine"]
    assert Path(fetched[0]).read_bytes() == CONTENT
    assert after == fetched
    file = "/org/model/resolve/main/tokenizer.json"
    assert [asked for asked in Hub.asked if file in asked and "GET" in asked] == [f"GET {file}"]


def test_its_chat_template_comes_with_it_and_lies_beside_it(
    hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    [[path, _]] = look("org/model", True, home=tmp_path, HF_ENDPOINT=endpoint(hub))
    assert read_template(Path(path).parent) == CONTENT.decode()  # This hub has one text for all.
    files = {asked.rpartition("/")[2] for asked in Hub.asked if "/resolve/" in asked}
    assert files == {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}


def test_a_check_counts_exactly_with_it_and_else_says_why_it_estimates(
    hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    def check(model: str) -> tuple[dict[str, Any], str]:
        # A token of this tokenizer is little more than a byte.
        options = ("--json", "--max-seq-length", "100000", "--model", model)
        brightrun = ("-c", "from tui.cli import main; main()", "dataset", "check")
        finished = run(
            *brightrun, str(SAMPLE_JSON), *options, home=tmp_path, HF_ENDPOINT=endpoint(hub)
        )
        return json.loads(finished.stdout), finished.stderr

    exact, said = check("org/model")
    assert (exact["tokens_are_estimated"], said) == (False, "")
    estimated, said = check("org/gated")
    assert estimated["tokens_are_estimated"]
    assert said.startswith("token counts are estimates: org/gated is gated: set HF_TOKEN")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("org/gated", "org/gated is gated: set HF_TOKEN"),
        ("org/missing", "the hub has no org/missing"),
        ("org/without", "org/without has no tokenizer.json"),
    ],
)
def test_why_it_cannot_be_had_is_told(
    hub: ThreadingHTTPServer, tmp_path: Path, model: str, reason: str
) -> None:
    [[path, told]] = look(model, True, home=tmp_path, HF_ENDPOINT=endpoint(hub))
    assert path == ""
    assert told.startswith(reason)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("org/model", f"{LLAMA_70B.parameters} "),
        ("org/gated", "None org/gated is gated: set HF_TOKEN"),
    ],
)
def test_the_shape_of_a_model_comes_from_its_configuration_there(
    hub: ThreadingHTTPServer, tmp_path: Path, model: str, told: str
) -> None:
    finished = run("-c", SHAPE, model, home=tmp_path, HF_ENDPOINT=endpoint(hub))
    assert finished.stdout.startswith(told)
    fetched = {asked.rpartition("/")[2] for asked in Hub.asked if "/resolve/" in asked}
    assert fetched == {"config.json"}


def test_a_name_that_is_half_typed_is_no_error(tmp_path: Path) -> None:
    for name in ("meta-llama/Meta-", "org/model.git"):
        found = look(name, False, True, home=tmp_path)
        assert found == 2 * [["", f"{name} is no model id of the hub"]]


def test_a_hub_that_is_not_there_costs_no_time(tmp_path: Path) -> None:
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    [[path, told]] = look("org/model", True, home=tmp_path, **nobody)
    assert path == ""
    assert told.startswith("the hub cannot be reached (")
    [[_, told]] = look("org/model", True, home=tmp_path, HF_HUB_OFFLINE="1")
    assert told == "HF_HUB_OFFLINE forbids to ask the hub for it"


def test_a_hub_id_is_an_organisation_and_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("meta-llama/Meta-Llama-3-70B-Instruct")
    assert not any(
        map(
            is_hub_id,
            ("tiny", "/models/llama", "~/llama", "./a/b", "a/b/c", "a/", "a/" + 300 * "b"),
        )
    )
    (tmp_path / "models" / "llama").mkdir(parents=True)
    assert not is_hub_id("models/llama")
