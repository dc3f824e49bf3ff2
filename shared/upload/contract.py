"""What console and agent say to each other about uploads straight from the machine.

Bodies only. A token lets one object be uploaded for two hours, and nothing else; the agent keeps it
in memory. It knows nothing of Supabase beyond that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.agent_protocol import Answer, ArtifactFile

BUCKET = "model-artifacts"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class UploadState(StrEnum):
    """Where a file of the agent's stands."""

    WAITING = "waiting"
    """Its turn comes; while the job trains, only where that was asked for."""
    UPLOADING = "uploading"
    NEEDS_TOKEN = "needs_token"
    """Its token has expired or was lost with the agent: ask again with a new one."""
    UPLOADED = "uploaded"
    """There, by the server's word."""
    FAILED = "failed"
    """It will not go on by itself; asking again tries again."""


class AskedUpload(BaseModel):
    """One file that is to go up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1, max_length=400)
    """As in `UploadableFiles`."""
    object_name: str = Field(min_length=1, max_length=400)
    token: str = Field(min_length=1, repr=False)
    """For this one object; never written anywhere."""
    content_type: str = "application/octet-stream"


class UploadsRequest(BaseModel):
    """Body of `POST /training/jobs/{id}/uploads`; again with new tokens, it goes on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    """Where resumable uploads with a signed token begin."""
    files: tuple[AskedUpload, ...] = Field(min_length=1, max_length=1000)
    bucket: str = BUCKET
    while_training: bool = False
    """False: nothing goes up before the job has ended, so that it never slows the trainer."""

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        parts = urlsplit(self.endpoint)
        is_clear = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not parts.hostname or not (parts.scheme == "https" or is_clear):
            raise ValueError("must begin with https://, or tokens would travel in clear")
        return self


class FileUpload(Answer):
    """One asked file, as far as it is."""

    object_name: str
    state: UploadState
    path: str = ""
    """"" where an earlier process of the agent was asked."""
    sent_bytes: int = 0
    """What the server has, or is getting."""
    size_bytes: int | None = None
    """None before the file was looked at."""
    sha256: str | None = None
    bytes_per_s: float | None = Field(default=None, allow_inf_nan=False)
    """Of late; None while nothing moves."""
    error: str = ""


class UploadsAnswer(Answer):
    """Every file that was asked for and not given up, in the order of asking."""

    files: tuple[FileUpload, ...] = ()

    @property
    def is_over(self) -> bool:
        """True where no file moves any more by itself."""
        moving = (UploadState.WAITING, UploadState.UPLOADING)
        return not any(file.state in moving for file in self.files)


class UploadableFiles(Answer):
    """What the agent could upload of a job: its adapter, and whole checkpoints.

    The adapter's paths are those of `ArtifactList`; a checkpoint's are
    `checkpoints/step-00000012/FILE`, its manifest last.
    """

    files: tuple[ArtifactFile, ...] = ()
