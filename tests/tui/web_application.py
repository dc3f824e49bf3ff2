"""The team's web application, as far as it puts training files into Supabase."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fakes.supabase.rig import SupabaseRig

CONTENT = b'{"conversations": []}\n' * 40_000
"""880 kB: several chunks."""


@dataclass
class WebApplication:
    """What the team's own application would do."""

    rig: SupabaseRig

    def add(self, content: bytes | None = CONTENT, **changes: Any) -> str:
        """A row with its object, of the first user unless said otherwise."""
        file_id = str(changes.pop("id", uuid.uuid4()))
        row = {
            "id": file_id,
            "name": "Coaching / week 1",
            "jsonl_file_path": f"{file_id}/training.jsonl",
            "jsonl_file_size": len(content or CONTENT),
            "sha256": hashlib.sha256(content or CONTENT).hexdigest(),
            "created_by": self.rig.user_one,
            **changes,
        }
        names = ", ".join(row)
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        self.rig.execute(f"insert into training_files ({names}) values ({places})", *row.values())
        if content is not None:
            self.put(str(row["jsonl_file_path"] or row.get("json_file_path")), content)
        return file_id

    def put(self, name: str, content: bytes) -> None:
        """Overwrites, as the application's export does."""
        answer = httpx.put(
            f"{self.rig.url}/storage/v1/object/training-files/{name}",
            content=content,
            headers={
                "apikey": self.rig.service_key,
                "Authorization": f"Bearer {self.rig.service_key}",
                "x-upsert": "true",
            },
        )
        assert answer.status_code == 200, answer.text
