"""`brightrun show`: one job in full."""

from __future__ import annotations

from dataclasses import asdict

from shared.advice.suggestion import Suggestion
from shared.event_text import describe_event
from shared.events import JournalRecord, utc_now
from shared.job_options import unusual_options
from shared.number_text import clock, date_and_clock, duration, loss, number, size
from shared.store.forecasts import StoredForecast
from shared.store.stored import StoredArtifact
from shared.store.uploads import StoredUpload
from tui import exit_codes
from tui.commands.output import print_json, print_pairs, say, say_line
from tui.commands.show_rental import print_rental, rental_dict, rental_of
from tui.commands.terminal_session import open_terminal_session
from tui.services.hosts.names import shown_host
from tui.services.mirror import Sight
from tui.services.settled_forecasts import settle_forecast
from tui.services.suggestions import suggestions_for
from tui.views.forecast_lines import compared_pairs
from tui.views.gpu_lines import gpu_pairs
from tui.views.suggestion_lines import suggestion_lines
from tui.views.upload_lines import upload_lines

_EVENTS_SHOWN = 12


async def show_job(job_id: str, *, as_json: bool) -> int:
    """Print the job as of now, or as it was last seen."""
    async with open_terminal_session() as session:
        sight = await session.mirror.catch_up(await session.store.get_job(job_id))
        artifacts = await session.store.artifacts(sight.job.job_id)
        events = await session.store.events(sight.job.job_id, _EVENTS_SHOWN, without_metrics=True)
        suggestions = await suggestions_for(session.store, sight.job)
        rented = await rental_of(session.store, sight.job.job_id)
        foreseen = await settle_forecast(session.store, sight.job.job_id)
        uploads = await session.store.uploads.of_job(sight.job.job_id)
    if as_json:
        told = _to_dict(sight, artifacts, suggestions)
        told["uploads"] = [upload.to_dict() for upload in uploads]
        print_json({**told, "rental": rental_dict(rented), "forecast": _forecast_dict(foreseen)})
    else:
        usd_per_hour = 0.0 if rented is None else rented.sight.usd_per_hour
        _print(sight, artifacts, events, usd_per_hour)
        _print_uploads(uploads)
        print_rental(rented)
        _print_forecast(foreseen)
        _print_suggestions(suggestions, sight.job.job_id)
    if sight.unreachable is not None:
        say(unreachable_line(sight))
    return exit_codes.OK


def unreachable_line(sight: Sight) -> str:
    """How old the figures are, and why there are no newer ones."""
    seen = sight.job.state.last_event_at
    when = f"last seen {date_and_clock(seen)}" if seen else "never seen"
    return f"{when}; unreachable: {sight.unreachable}"


def _to_dict(
    sight: Sight, artifacts: list[StoredArtifact], suggestions: list[Suggestion]
) -> dict[str, object]:
    described = [
        {**asdict(artifact), "created_at": artifact.created_at.isoformat()}
        for artifact in artifacts
    ]
    return {
        **sight.job.to_dict(),
        "unreachable": sight.unreachable,
        "artifacts": described,
        "suggestions": [item.to_dict(sight.job.job_id) for item in suggestions],
    }


def _print(
    sight: Sight,
    artifacts: list[StoredArtifact],
    events: list[JournalRecord],
    usd_per_hour: float,
) -> None:
    gpus = gpu_pairs(sight.job.state, utc_now(), usd_per_hour)
    print_pairs([*_identity(sight), *_figures(sight), *gpus])
    for artifact in artifacts:
        perplexity = number(artifact.perplexity, ".2f")
        say_line(
            f"\nadapter {artifact.manifest_sha256[:12]} ({size(artifact.size_bytes)}), "
            f"perplexity {perplexity}: `brightrun fetch {sight.job.job_id}`"
        )
    if events:
        say_line("")
    for record in events:
        say_line(f"{clock(record.time)}  {describe_event(record)}")


def _print_uploads(uploads: list[StoredUpload]) -> None:
    if lines := upload_lines(uploads):
        say_line("")
    for line in lines:
        say_line(line)


def _forecast_dict(stored: StoredForecast | None) -> dict[str, object] | None:
    if stored is None:
        return None
    actual = stored.actual and stored.actual.model_dump(mode="json")
    return {"foreseen": stored.forecast.model_dump(mode="json"), "actual": actual}


def _print_forecast(stored: StoredForecast | None) -> None:
    if pairs := compared_pairs(stored):
        say_line("")
        print_pairs(pairs)


def _print_suggestions(suggestions: list[Suggestion], job_id: str) -> None:
    if suggestions:
        say_line("")
    for line in suggestion_lines(suggestions, job_id):
        say_line(line)


def _identity(sight: Sight) -> list[tuple[str, str]]:
    spec = sight.job.spec
    changed = spec.hyperparameters.model_dump(mode="json", exclude={"target_modules"})
    revision = f" at {spec.base_model_revision}" if spec.base_model_revision else ""
    pairs = [
        ("job", sight.job.job_id),
        ("name", spec.name),
        ("notes", spec.notes),
        ("tags", ", ".join(spec.tags)),
        ("dataset", f"{spec.dataset.file_name} ({spec.dataset.sha256[:12]})"),
        ("base model", spec.base_model + revision),
        ("preset", spec.preset),
        ("hyperparameters", "  ".join(f"{name}={value}" for name, value in changed.items())),
        ("options", "  ".join(f"{name}={value}" for name, value in unusual_options(spec))),
        ("host", shown_host(sight.job.host)),
        ("created", date_and_clock(sight.job.created_at)),
    ]
    return [(name, value) for name, value in pairs if value]


def _figures(sight: Sight) -> list[tuple[str, str]]:
    state = sight.job.state
    eta_s = state.eta_s()
    pairs = [
        ("status", str(state.status)),
        ("activity", f"{state.activity or ''} {state.detail}".strip()),
        ("why", sight.job.error_message or ""),
        ("advice", state.advice),
        ("attempt", str(state.attempt) if state.attempt > 1 else ""),
        ("step", f"{state.step}/{state.total_steps}" if state.total_steps else ""),
        ("epoch", f"{state.epoch:.2f}" if state.step else ""),
        ("loss", f"{loss(state.loss)} (first {loss(state.first_loss)})" if state.step else ""),
        (
            "held-out loss",
            f"{loss(state.eval_loss)} (base model {loss(state.base_eval_loss)})"
            if state.eval_loss is not None
            else "",
        ),
        ("ETA", "" if eta_s is None else duration(eta_s)),
        ("checkpoint", f"step {state.last_checkpoint_step}" if state.last_checkpoint_step else ""),
    ]
    return [(name, value) for name, value in pairs if value]
