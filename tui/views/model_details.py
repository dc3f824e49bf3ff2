"""One version in words: what it is, where its files are, who moved it and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from shared.clean_text import clean_line
from shared.model_version import DeploymentChange, ModelVersion
from shared.number_text import date_and_clock, loss, number, size, usd
from tui.services.hosts.names import shown_host
from tui.views.model_rows import STATUS_STYLES, status_of

_SHORT_HASH = 12


def detail_pairs(version: ModelVersion, files: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values; None of it is markup."""
    facts = version.facts
    revision = f" at {facts.base_model_revision}" if facts.base_model_revision else ""
    before = f" (base model {loss(facts.eval_loss_before)})" if facts.eval_loss_before else ""
    return [
        ("version", version.reference),
        ("status", status_of(version)),
        ("id", version.version_id),
        ("job", f"{version.job_id} ({facts.job_name})"),
        ("base model", f"{facts.base_model}{revision}"),
        ("dataset", f"{facts.dataset_name} ({facts.dataset_sha256[:_SHORT_HASH]})"),
        ("made", f"{date_and_clock(version.created_at)} on {shown_host(facts.host)}"),
        ("steps", f"{facts.steps:,}"),
        ("loss", loss(facts.loss)),
        ("held-out loss", loss(facts.eval_loss) + before),
        ("perplexity", number(facts.perplexity, ".2f")),
        ("hours", number(facts.hours, ".2f")),
        ("cost", "–" if facts.cost_usd is None else usd(facts.cost_usd)),
        ("LoRA", _lora_words(version)),
        ("size", size(facts.size_bytes)),
        ("manifest", version.manifest_sha256),
        ("files", ", ".join(files) or "not on this machine"),
    ]


def change_words(change: DeploymentChange) -> str:
    """`2026-11-23 12:00  stored -> testing, elena@example.org: better answers`."""
    return (
        f"{date_and_clock(change.time)}  {change.from_status} -> {change.to_status}, "
        f"{clean_line(change.who)}: {clean_line(change.why)}"
    )


def detail_text(version: ModelVersion, history: Sequence[DeploymentChange]) -> Text:
    """The version under the cursor; the newest change first, since lower lines may be cut off."""
    facts = version.facts
    first = Text.assemble(
        (version.reference, "bold"),
        "  ",
        (status_of(version), STATUS_STYLES.get(status_of(version), "")),
        f"  job {clean_line(version.job_id)}, “{clean_line(facts.job_name)}”",
    )
    second = (
        f"{clean_line(facts.base_model)} on {clean_line(facts.dataset_name)}, "
        f"{facts.steps:,} steps, made {date_and_clock(version.created_at)}"
    )
    lines = [first, Text(second, "dim")]
    lines += [Text(change_words(each), "dim") for each in reversed(history)]
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _lora_words(version: ModelVersion) -> str:
    config = version.facts.lora_config
    words = [f"{name.removeprefix('lora_')} {config[name]}" for name in config if name != _MODULES]
    modules = config.get(_MODULES) or []
    return ", ".join([*words, "+".join(map(str, modules))]) if config else "–"


_MODULES = "target_modules"
