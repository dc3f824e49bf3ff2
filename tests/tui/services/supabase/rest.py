"""The tables of the rig's project as somebody asks for them over HTTP."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fakes.supabase.rig import SupabaseRig

Row = dict[str, Any]
DENIED = "42501"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @property
    def rows(self) -> list[Row]:
        assert self.status < 300, self.body
        return list(self.body)

    @property
    def code(self) -> str:
        return "" if self.status < 300 else str(self.body["code"])


class Rest:
    """`user_id` None is anon; "service" is the service key."""

    def __init__(self, rig: SupabaseRig, user_id: str | None, schema: str = "public") -> None:
        self._url = f"{rig.url}/rest/v1"
        if user_id == "service":
            key = token = rig.service_key
        else:
            key = rig.anon_key
            token = rig.token_for(user_id) if user_id else key
        self._headers = {
            "apikey": key,
            "Authorization": f"Bearer {token}",
            "Prefer": "return=representation",
            "Accept-Profile": schema,
            "Content-Profile": schema,
        }

    def select(self, table: str, **filters: str) -> Answer:
        return self._ask("GET", table, filters)

    def insert(self, table: str, rows: Row | list[Row]) -> Answer:
        return self._ask("POST", table, {}, rows)

    def upsert(self, table: str, rows: Row | list[Row], on_conflict: str) -> Answer:
        prefer = "return=representation,resolution=merge-duplicates"
        return self._ask("POST", table, {"on_conflict": on_conflict}, rows, Prefer=prefer)

    def update(self, table: str, row_id: str, values: Row) -> Answer:
        return self._ask("PATCH", table, {"id": f"eq.{row_id}"}, values)

    def delete(self, table: str, row_id: str) -> Answer:
        return self._ask("DELETE", table, {"id": f"eq.{row_id}"})

    def _ask(
        self, method: str, path: str, params: dict[str, str], body: Any = None, **headers: str
    ) -> Answer:
        answer = httpx.request(
            method,
            f"{self._url}/{path}",
            params=params,
            json=body,
            headers={**self._headers, **headers},
            timeout=30,
            verify=False,  # It is plain HTTP: reading the certificates would take most of the time.
        )
        return Answer(answer.status_code, answer.json() if answer.content else None)


@dataclass(frozen=True)
class Sample:
    """One row in each table, all of one user."""

    owner: str
    training_files: Row
    training_jobs: Row
    model_artifacts: Row
    training_metrics_history: Row

    def row(self, table: str) -> Row:
        row: Row = getattr(self, table)
        return row


def sample(rig: SupabaseRig, owner: str) -> Sample:
    """Written as that user, who has the right to."""
    rest = Rest(rig, owner)
    file = rest.insert("training_files", {"name": "calls"}).rows[0]
    job = rest.insert("training_jobs", {"name": "a job", "training_file_id": file["id"]}).rows[0]
    artifact = rest.insert("model_artifacts", artifact_of(job["id"])).rows[0]
    metric = rest.insert("training_metrics_history", metric_of(job["id"])).rows[0]
    return Sample(owner, file, job, artifact, metric)


def artifact_of(job_id: str, **more: Any) -> Row:
    path = f"jobs/{job_id}/{uuid.uuid4().hex[:16]}/adapter_model.safetensors"
    return {
        "training_job_id": job_id,
        "artifact_type": "lora_adapter",
        "storage_path": path,
        "file_size_bytes": 414_187_520,
        "sha256": "0" * 64,
        **more,
    }


def metric_of(job_id: str, step: int = 1, **more: Any) -> Row:
    return {"training_job_id": job_id, "attempt": 1, "step": step, "loss": 1.5, **more}
