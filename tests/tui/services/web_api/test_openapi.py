"""The API held against its own OpenAPI document, by somebody else's judgement."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

from tests.tui.services.web_api.served import JOBS, SECRET, START, WEBHOOK, Served, served
from tui.services.session import Session
from tui.services.web_api.settings import ApiSettings, Rate

UNLIMITED = Rate(1e6, 10**6)


async def document(api: Served) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    async with httpx.AsyncClient(base_url=api.url) as stranger:
        answer = await stranger.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, dict[str, dict[str, dict[str, object]]]] = answer.json()
    return found


async def test_the_document_tells_of_every_route_and_what_opens_it(api: Served) -> None:
    paths = (await document(api))["paths"]

    opened_by = {
        (method, path): operation["security"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    assert opened_by == {
        ("post", START): [{"bearer": ["jobs:write"]}],
        ("get", JOBS): [{"bearer": ["jobs:read"]}],
        ("get", JOBS + "/{job_id}"): [{"bearer": ["jobs:read"]}],
        ("delete", JOBS + "/{job_id}"): [{"bearer": ["jobs:write"]}],
        ("post", WEBHOOK): [
            {"webhookSignature": [], "webhookId": [], "webhookTimestamp": []},
        ],
    }


async def test_ranges_in_the_document_are_those_of_the_hyperparameters(api: Served) -> None:
    schemas = (await document(api))["components"]["schemas"]
    fields: dict[str, dict[str, list[dict[str, object]]]]
    fields = schemas["StartHyperparameters"]["properties"]  # type: ignore[assignment]
    assert fields["lora_r"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 256}
    assert fields["learning_rate"]["anyOf"][0]["exclusiveMinimum"] == 0
    assert schemas["StartRequest"]["additionalProperties"] is False


@pytest.mark.slow
async def test_schemathesis_finds_nothing_that_the_document_does_not_say(
    session: Session, tmp_path: Path
) -> None:
    settings = ApiSettings(
        port=0,
        token_rate=UNLIMITED,
        address_rate=UNLIMITED,
        base_model="tiny",
        webhook_secrets=(SECRET,),
    )
    async with served(session, settings) as api:
        await api.add_job("job-one")
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{api.url}/openapi.json",
            "--header",
            f"Authorization: Bearer {await api.token()}",
            *("--phases", "coverage,fuzzing", "--max-examples", "10", "--seed", "1"),
            *("--generation-database", "none", "--no-color", "--warnings", "off"),
        ]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told = (await process.communicate())[0].decode()

    assert process.returncode == 0, told
    assert "Tested: 5" in told
