"""Versions of models as rows: for the table on the screen and for `brightrun models`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.clean_text import clean_line
from shared.deployment import DeploymentStatus
from shared.model_version import DeploymentChange, ModelVersion
from shared.number_text import date_and_clock, loss, many, number, size, usd
from tui.services.model_files import Removal

HEADERS = (
    "MODEL",
    "STATUS",
    "JOB",
    "BASE MODEL",
    "LOSS",
    "HELD OUT",
    "PPL",
    "HOURS",
    "COST",
    "SIZE",
    "UPLOADED",
)
NUMBERS = ("LOSS", "HELD OUT", "PPL", "HOURS", "COST", "SIZE")
HISTORY_HEADERS = ("TIME", "MODEL", "FROM", "TO", "WHO", "WHY")
FILTERS = ("kept", *(status.value for status in DeploymentStatus), "deleted")
"""Names of the tabs, in order."""
STATUS_STYLES: Mapping[str, str] = {
    DeploymentStatus.STORED: "",
    DeploymentStatus.TESTING: "cyan",
    DeploymentStatus.PRODUCTION: "bold green",
    DeploymentStatus.ARCHIVED: "dim",
    "deleted": "dim strike",
}
REMOVES = (
    "That removes its adapter from this machine and from Supabase for good. What it was, its "
    "curves and its history stay."
)
_DASH = "–"
_COST_CHARACTERS = 7


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One version; all foreign text is clean."""

    version_id: str
    reference: str
    model_name: str
    """"" below the first row of its model."""
    version: str
    status: str
    job_id: str
    base_model: str
    loss: str
    held_out: str
    perplexity: str
    hours: str
    cost: str
    size: str
    uploaded: str
    mark: str = ""
    """The letter under which it would be compared."""

    @property
    def cells(self) -> list[str]:
        """Under `HEADERS`."""
        figures = [self.loss, self.held_out, self.perplexity, self.hours, self.cost, self.size]
        return [
            self.reference,
            self.status,
            self.job_id,
            self.base_model,
            *figures,
            self.uploaded,
        ]


def grouped(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """By model, the one with the newest version first; in each the newest version first."""
    groups: dict[str, list[ModelVersion]] = {}
    for each in versions:
        groups.setdefault(each.model_name, []).append(each)
    for some in groups.values():
        some.sort(key=lambda each: -each.version)
    in_order = sorted(groups.values(), key=lambda some: some[0].created_at, reverse=True)
    return [each for some in in_order for each in some]


def chosen(versions: Iterable[ModelVersion], shown: str, search: str = "") -> list[ModelVersion]:
    """Those of one of `FILTERS` in which every word of `search` occurs."""
    words = search.casefold().split()
    return [
        each
        for each in versions
        if _is_shown(each, shown) and all(word in _haystack(each) for word in words)
    ]


def status_of(version: ModelVersion) -> str:
    """Its deployment status, or that it was deleted."""
    return "deleted" if version.is_deleted else version.status.value


def model_rows(
    versions: Sequence[ModelVersion],
    upload_states: Mapping[str, frozenset[str]],
    marks: Mapping[str, str] | None = None,
) -> list[ModelRow]:
    """In the same order; `marks` are letters by version id."""
    rows: list[ModelRow] = []
    above = ""
    for each in versions:
        name = "" if each.model_name == above else each.model_name
        above = each.model_name
        states = upload_states.get(each.job_id, frozenset())
        rows.append(_row(each, name, states, (marks or {}).get(each.version_id, "")))
    return rows


def _row(version: ModelVersion, name: str, states: frozenset[str], mark: str) -> ModelRow:
    facts = version.facts
    return ModelRow(
        version_id=version.version_id,
        reference=clean_line(version.reference),
        model_name=clean_line(name),
        version=str(version.version),
        status=status_of(version),
        job_id=clean_line(version.job_id),
        base_model=clean_line(facts.base_model) or _DASH,
        loss=loss(facts.loss),
        held_out=loss(facts.eval_loss),
        perplexity=number(facts.perplexity, ".2f"),
        hours=number(facts.hours, ".2f"),
        cost=_DASH if facts.cost_usd is None else usd(facts.cost_usd, _COST_CHARACTERS),
        size=size(facts.size_bytes),
        uploaded=_DASH if version.is_deleted else uploaded_words(states),
        mark=mark,
    )


def uploaded_words(states: frozenset[str]) -> str:
    """Whether its weights are in Supabase: the worst state speaks."""
    if not states:
        return _DASH
    if "refused" in states:
        return "refused"
    return "yes" if states == {"verified"} else "on its way"


def history_row(change: DeploymentChange, references: Mapping[str, str]) -> list[str]:
    """Under `HISTORY_HEADERS`; `references` are `NAME:VERSION` by version id."""
    return [
        date_and_clock(change.time),
        references.get(change.version_id, _DASH),
        change.from_status,
        change.to_status,
        clean_line(change.who),
        clean_line(change.why),
    ]


def removal_lines(removal: Removal) -> list[str]:
    """What became of its files."""
    lines = [f"removed: {each}" for each in removal.removed]
    lines += [f"left alone: {each}" for each in removal.kept]
    lines += [f"NOT REMOVED, delete it once more: {each}" for each in removal.troubles]
    return lines or ["there were no files of it on this machine or in Supabase."]


def count_words(versions: Sequence[ModelVersion]) -> str:
    """`3 versions of 2 models`."""
    models = len({each.model_name for each in versions})
    return f"{many(len(versions), 'version')} of {many(models, 'model')}"


def _is_shown(version: ModelVersion, shown: str) -> bool:
    if shown == "kept":
        return not version.is_deleted
    return status_of(version) == shown


def _haystack(version: ModelVersion) -> str:
    facts = version.facts
    words = (
        version.reference,
        status_of(version),
        version.job_id,
        facts.job_name,
        facts.base_model,
        facts.dataset_name,
    )
    return " ".join(words).casefold()
