"""What the API takes and gives: the seed's names, and ours beside them, for OpenAPI and checks.

Ranges of hyperparameters are those of `shared.hyperparameters`, so that they stand in one place.
Values are taken as they are: the text "3" is no number.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from shared.base_models import BUILT_MODELS
from shared.hyperparameters import Hyperparameters
from shared.lifecycle import JobStatus

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_MODEL = f"^({'|'.join(BUILT_MODELS)}|{_NAME}/{_NAME})$"
"""As the hub has names; no path of this machine."""

_ModuleName = Annotated[str, Field(min_length=1, max_length=200)]

UuidText = Annotated[str, Field(pattern=_UUID), AfterValidator(str.lower)]

_TAKEN = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _settable(name: str) -> Any:
    """One hyperparameter, or null for the preset's value."""
    field = Hyperparameters.model_fields[name]
    kind: Any = (
        list[Annotated[str, Field(min_length=1, max_length=200)]]
        if name == "target_modules"
        else field.annotation
    )
    annotated: Any = Annotated
    return (annotated[(kind, *field.metadata)] | None, Field(None, description=field.description))


StartHyperparameters: Any = create_model(
    "StartHyperparameters",
    __config__=_TAKEN,
    **{name: _settable(name) for name in Hyperparameters.model_fields},
)
"""Laid over the balanced preset."""


class RunpodConfig(BaseModel):
    """The machine to rent; the last four are ours."""

    model_config = _TAKEN

    gpu_type: Annotated[str, Field(min_length=2, max_length=40)] | None = Field(
        None, description="H100_PCIE, A100_80GB, ...; null: the cheapest that is large enough."
    )
    instance_type: Literal["on_demand", "spot"] = Field(
        "on_demand", description="RunPod sells no spot any more: refused, with what there is."
    )
    max_duration_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    budget_usd: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        None, description="Cap on the cost; null: what max_duration_hours cost."
    )
    gpu_count: Annotated[int, Field(ge=1, le=8)] | None = None
    data_center: Annotated[str, Field(min_length=2, max_length=40)] | None = None
    network_volume: Annotated[str, Field(min_length=2, max_length=100)] | None = Field(
        None, description="Id or name of a volume that is there; a job outlives its machine on it."
    )


class StartRequest(BaseModel):
    """What to train, how, and on what."""

    model_config = _TAKEN

    training_file_id: UuidText
    hyperparameters: StartHyperparameters = Field(default_factory=StartHyperparameters)
    runpod_config: RunpodConfig | None = Field(
        None, description="Null: on the host that this server has for its jobs."
    )
    created_by: UuidText | None = Field(
        None, description="For whom; a token of one user stands for that user."
    )
    name: Annotated[str, Field(min_length=3, max_length=100)] | None = None
    notes: Annotated[str, Field(max_length=2000)] = ""
    tags: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=20)
    ] = []
    base_model: Annotated[str, Field(pattern=_MODEL)] | None = Field(
        None, description="A model of the hub, or tiny; null: as the server is set."
    )
    base_model_revision: Annotated[str, Field(pattern=r"^[\w./-]+$", max_length=80)] | None = None


class StartAnswer(BaseModel):
    """A job that was written down."""

    success: Literal[True] = True
    training_job_id: str
    status: JobStatus
    runpod_pod_id: str | None
    estimated_duration_minutes: float | None
    estimated_cost_usd: float | None


class JobObject(BaseModel):
    """A job, as its row in the web application's table; more columns may follow."""

    model_config = ConfigDict(extra="allow")

    id: str
    training_file_id: str | None
    status: JobStatus
    runpod_pod_id: str | None
    runpod_endpoint_url: str | None
    hyperparameters: dict[str, Any]
    metrics: dict[str, Any]
    current_step: int
    total_steps: int | None
    current_epoch: float
    started_at: str | None
    completed_at: str | None
    estimated_completion_at: str | None
    estimated_cost_usd: float | None
    actual_cost_usd: float | None
    gpu_hours: float | None
    lora_artifact_path: str | None
    training_log_path: str | None
    error_message: str | None
    retry_count: int
    created_by: str | None
    created_at: str
    updated_at: str


class JobList(BaseModel):
    """One page, newest first."""

    success: Literal[True] = True
    jobs: list[JobObject]
    total: int
    page: int
    limit: int


class MetricsRow(BaseModel):
    """What was measured at one step, as a row of `training_metrics_history`."""

    step: int
    attempt: int
    epoch: float
    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    eval_loss: float | None
    recorded_at: str


class JobAnswer(BaseModel):
    """One job; its history where that was asked for."""

    success: Literal[True] = True
    job: JobObject
    metrics_history: list[MetricsRow] | None = None
    next_after_step: int | None = Field(
        None, description="Ask for the history after this step for more; null: that was all."
    )


class WebhookBody(BaseModel):
    """What our own webhooks say; only the job's id is used here."""

    model_config = ConfigDict(extra="allow")

    job_id: UuidText
    status: JobStatus
    step: int | None = None
    total_steps: int | None = None
    metrics: dict[str, Any] = {}
    timestamp: str = ""


class WebhookAnswer(BaseModel):
    """It was taken; `duplicate` if that had been so before."""

    success: Literal[True] = True
    duplicate: bool
