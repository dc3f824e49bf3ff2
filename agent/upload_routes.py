"""The agent's HTTP interface to uploads; it translates and decides nothing."""

from __future__ import annotations

from fastapi import FastAPI

from agent.supervisor import Supervisor
from agent.uploadable import list_uploadable
from agent.uploads import Uploads
from shared.upload.contract import UploadableFiles, UploadsAnswer, UploadsRequest


def add_upload_routes(app: FastAPI, supervisor: Supervisor, uploads: Uploads) -> None:
    """Let a console hand over tokens, and look how far the uploads are."""

    @app.get("/training/jobs/{job_id}/uploadable")
    def uploadable(job_id: str) -> UploadableFiles:
        return list_uploadable(supervisor.job(job_id).directory)

    @app.post("/training/jobs/{job_id}/uploads", status_code=202)
    async def ask(job_id: str, request: UploadsRequest) -> UploadsAnswer:
        return await uploads.ask(job_id, request)

    @app.get("/training/jobs/{job_id}/uploads")
    async def state(job_id: str) -> UploadsAnswer:
        return await uploads.answer(job_id)

    @app.delete("/training/jobs/{job_id}/uploads")
    async def give_up(job_id: str) -> UploadsAnswer:
        return await uploads.give_up(job_id)
