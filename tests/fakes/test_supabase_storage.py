"""The storage double and the TUS server, held against exchanges recorded with the real ones."""

from __future__ import annotations

import ast
import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.fakes.supabase.rig import SupabaseRig

_CONTRACT = Path(__file__).parents[3] / "shared" / "specs" / "supabase-storage-contract.json"
_BUCKET = "model-artifacts"
_ANYTHING = re.compile(
    r"_at$|_accessed_at|lastModified|last_modified|^id$|^version$|token|[uU][rR][lL]"
)
_UNLIKE = {"content-length", "location", "cache-control"}
"""Headers whose values carry tokens or times."""


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    if not _CONTRACT.is_file():
        pytest.skip(f"{_CONTRACT}: the recorded exchanges are not here")
    recorded = json.loads(_CONTRACT.read_text())["exchanges"]
    return [exchange for exchange in recorded if exchange["path"].startswith("/storage")]


def test_every_recorded_exchange_goes_the_same_way_here(
    fresh_supabase: SupabaseRig, exchanges: list[dict[str, Any]]
) -> None:
    with httpx.Client(base_url=fresh_supabase.url) as http:
        replay = _Replay(fresh_supabase, http)
        for exchange in exchanges:
            answer = replay.ask(exchange)
            label = exchange["label"]
            assert answer.status_code == exchange["status"], (label, answer.text)
            for name, value in exchange["headers"].items():
                if name not in _UNLIKE:
                    assert answer.headers.get(name) == value, label
            assert _shape(_body(answer.text)) == _shape(_body(exchange["body"])), label
    assert len(exchanges) > 25


def test_a_user_signs_only_what_the_policies_allow(fresh_supabase: SupabaseRig) -> None:
    rig = fresh_supabase
    job = str(uuid.uuid4())
    rig.execute(
        "insert into training_jobs (id, created_by, status) values ($1, $2, 'queued')",
        job,
        rig.user_one,
    )
    path = f"/storage/v1/object/upload/sign/{_BUCKET}/jobs/{job}/abc/x.bin"
    answers = {}
    for user in (rig.user_one, rig.user_two):
        headers = {"apikey": rig.anon_key, "Authorization": f"Bearer {rig.token_for(user)}"}
        answers[user] = httpx.post(f"{rig.url}{path}", headers=headers)
    assert answers[rig.user_one].status_code == 200
    assert "row-level security" in answers[rig.user_two].json()["message"]
    assert rig.execute("select count(*) as n from storage.objects")[0]["n"] == 0


class _Replay:
    """Sends recorded requests with tokens of this rig."""

    def __init__(self, rig: SupabaseRig, http: httpx.Client) -> None:
        self._rig = rig
        self._http = http
        self._location = ""

    def ask(self, exchange: dict[str, Any]) -> httpx.Response:
        method, label = exchange["method"], exchange["label"]
        headers = {
            name: self._header(name, value, label)
            for name, value in exchange["req_headers"].items()
        }
        content = self._content(exchange["req_body"])
        if exchange["req_body"].startswith("{"):
            headers["content-type"] = "application/json"
        request = self._http.build_request(
            method, self._path(exchange["path"], label), headers=headers, content=content
        )
        answer = self._http.send(request)
        self._remember(label, answer)
        return answer

    def _remember(self, label: str, answer: httpx.Response) -> None:
        if label == "tus create":
            self._location = httpx.URL(answer.headers["location"]).path

    def _path(self, path: str, label: str) -> str:
        if path.startswith("/storage/v1/upload/resumable/sign/"):
            if label == "tus head unknown":
                return path
            return self._location
        return path.replace("<jwt>", self._signature(label))

    def _header(self, name: str, value: str, label: str) -> str:
        if name == "x-signature":
            return self._signature(label)
        return value.replace("<jwt>", self._login(label))

    def _login(self, label: str) -> str:
        if label == "sign upload, expired jwt":
            return self._rig.auth.mint("service_role", -10)
        if label == "sign upload, no rights":
            return self._rig.token_for(self._rig.user_two)
        return self._rig.service_key

    def _signature(self, label: str) -> str:
        now = int(time.time())
        lifetime_s = -5 if "expired" in label else 60
        claims = {"url": f"{_BUCKET}/jobs/contract/1795355101.bin", "owner": None}
        claims |= {"iat": now - 60, "exp": now + lifetime_s}
        return jwt.encode(claims, self._rig.jwt_secret, algorithm="HS256")

    def _content(self, body: str) -> bytes | None:
        if not body:
            return None
        value = ast.literal_eval(body)
        return value if isinstance(value, bytes) else json.dumps(value).encode()


def _body(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shape(value: Any, name: str = "") -> Any:
    """The value, without what differs from run to run."""
    if _ANYTHING.search(name):
        return "..."
    if isinstance(value, dict):
        return {key: _shape(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_shape(each) for each in value]
    return value
