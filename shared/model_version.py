"""Versions of a model: what one is, how it is named, and how far it may be deployed.

A version is one adapter that was proved to load. Knows neither a store nor a screen.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from shared.clean_text import clean_line
from shared.deployment import MOVES, DeploymentStatus
from shared.errors import InvalidInput

LONGEST_MODEL_NAME = 100
LONGEST_REASON = 2000
DELETED = "deleted"
"""In the history, beside the statuses: its files were removed, the record stays."""
RENAMED = "renamed"
"""In the history: the version went over to another model."""

_UNNAMED = "model"
_NAMESPACE = UUID("b1c7a7c2-52b4-5a8f-8a3e-0d6f3c9e4a17")
"""Drawn once, at random, for this project."""
_REFERENCE = re.compile(r"(?P<name>[^:]+)(?::v?(?P<version>\d{1,9}))?")
_UNUSUAL = re.compile(r"[^\w.-]+")


class VersionFacts(BaseModel):
    """What a version was, for when its job or its files are gone; None for what is not known."""

    # What a later version has written down beside these is left alone.
    model_config = ConfigDict(frozen=True, extra="ignore")

    job_name: str = ""
    base_model: str = ""
    base_model_revision: str | None = None
    dataset_name: str = ""
    dataset_sha256: str = ""
    settings: dict[str, str] = {}
    """Every hyperparameter and job option, as text."""
    lora_config: dict[str, Any] = {}
    host: str = ""
    path: str = ""
    """Of the adapter, on that host."""
    size_bytes: int = 0
    steps: int = 0
    loss: float | None = None
    """Of the last step."""
    eval_loss_before: float | None = None
    eval_loss: float | None = None
    perplexity: float | None = None
    tokens_per_s: float | None = None
    hours: float | None = None
    cost_usd: float | None = None
    """None where nothing was rented."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of one model."""

    version_id: str
    """A UUID, the same as of its row in the web application."""
    model_name: str
    version: int
    job_id: str
    attempt: int
    manifest_sha256: str
    status: DeploymentStatus
    facts: VersionFacts
    created_at: datetime
    deleted_at: datetime | None = None
    """None while its files are kept."""

    @property
    def reference(self) -> str:
        """`empathy:3`, as it is typed."""
        return f"{self.model_name}:{self.version}"

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "id": self.version_id,
            "model": self.model_name,
            "version": self.version,
            "reference": self.reference,
            "job_id": self.job_id,
            "attempt": self.attempt,
            "manifest_sha256": self.manifest_sha256,
            "deployment_status": self.status.value,
            "created_at": self.created_at.isoformat(),
            "deleted_at": None if self.deleted_at is None else self.deleted_at.isoformat(),
            **self.facts.model_dump(mode="json"),
        }


@dataclass(frozen=True, slots=True)
class DeploymentChange:
    """One line of a version's history."""

    version_id: str
    time: datetime
    from_status: str
    to_status: str
    """A status, `deleted` or `renamed`."""
    who: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "version_id": self.version_id,
            "time": self.time.isoformat(),
            "from_status": self.from_status,
            "to_status": self.to_status,
            "who": self.who,
            "why": self.why,
        }


def version_id(web_job_id: str, attempt: int) -> str:
    """The id of what this attempt of the job (`shared.web_id`) has made, wherever it is written."""
    return str(uuid5(_NAMESPACE, f"{web_job_id}/{attempt}"))


def model_name_of(text: str) -> str:
    """A job's or sweep's name as the name of a model: `Elena Morales, v4` is `elena-morales-v4`.

    The same for all spellings of it; never empty, and without anything that a shell or path minds.
    """
    # Folding a letter may take it apart again.
    plain = _composed(_composed(clean_line(text)).casefold())
    name = _UNUSUAL.sub("-", plain).strip("-._")[:LONGEST_MODEL_NAME].strip("-._")
    return name or _UNNAMED


def _composed(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def checked_model_name(text: str) -> str:
    """The name of a model as somebody typed it.

    Raises:
        InvalidInput: it is none.
    """
    name = model_name_of(text)
    if not clean_line(text) or clean_line(text).casefold() != name:
        raise InvalidInput(
            f"model name {clean_line(text)!r}: has letters, digits and - . _ alone, at most "
            f"{LONGEST_MODEL_NAME} of them, such as {name}."
        )
    return name


def parse_reference(typed: str) -> tuple[str, int | None]:
    """`NAME:VERSION` or `NAME`, whose newest version is meant (None).

    Raises:
        InvalidInput: it is neither.
    """
    found = _REFERENCE.fullmatch(clean_line(typed))
    if found is None:
        raise InvalidInput(f"{clean_line(typed)!r}: name a version as in empathy:3.")
    version = found["version"]
    return model_name_of(found["name"]), None if version is None else int(version)


def checked_reason(why: str) -> str:
    """Why a version is moved or deleted, on one line.

    Raises:
        InvalidInput: nothing is said, or a whole book.
    """
    reason = clean_line(why)
    if not reason:
        raise InvalidInput("Say why (--why REASON): it is kept in the version's history.")
    if len(reason) > LONGEST_REASON:
        raise InvalidInput(f"The reason has {len(reason):,} characters; {LONGEST_REASON:,} fit.")
    return reason


def production_gate(version: ModelVersion) -> str:
    """Why the version may not go into production; "" where it may."""
    return (
        f"{version.reference}: production is closed, because nothing proves yet that a version is "
        "better than its base model: the evaluation that opens it does not exist in this release. "
        "It stays in testing."
    )


def why_not(version: ModelVersion, to: DeploymentStatus) -> str:
    """Why the version cannot be given this status; "" where it can."""
    if version.is_deleted:
        return f"{version.reference} was deleted: its record stays as it is."
    if version.status is to:
        return f"{version.reference} is {to} already."
    if to not in MOVES[version.status]:
        possible = ", ".join(sorted(MOVES[version.status]))
        return f"{version.reference} is {version.status}: from there it can become {possible}."
    return production_gate(version) if to is DeploymentStatus.PRODUCTION else ""


def why_not_deleted(version: ModelVersion) -> str:
    """Why the version cannot be deleted; "" where it can."""
    if version.status is DeploymentStatus.PRODUCTION:
        return f"{version.reference} is in production: archive it first; nothing was removed."
    return ""
