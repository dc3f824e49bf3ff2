"""The findings of a check as lines of text, grouped by what they say.

Pure: it knows nothing of files, terminals or widgets. Everything foreign is cleaned here, and
nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.findings import Finding, Severity
from shared.dataset.report import DatasetReport
from shared.number_text import many

_LONGEST_TEXT = 400
FindingCounts = Mapping[Severity, Mapping[str, int]]
"""Severity -> code -> count."""

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_INDENT = " " * 9


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """The findings of one code. Message and advice are empty where they differ within it."""

    severity: Severity
    code: str
    count: int
    """All of them; `findings` may hold fewer."""
    findings: tuple[Finding, ...]
    message: str
    advice: str


def checks_in_words(report: DatasetReport) -> str:
    """`2 errors, 3 warnings`; those that were not kept are counted, too."""
    counts = [many(report.count(its), its) for its in Severity if report.count(its)]
    return ", ".join(counts) or "no findings"


def finding_groups(
    findings: Iterable[Finding], counts: FindingCounts | None = None
) -> list[FindingGroup]:
    """The findings by code, worst first; `counts` knows those that were not kept, too."""
    kept: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        kept.setdefault((finding.severity, finding.code), []).append(finding)
    return [
        FindingGroup(
            severity,
            code,
            max((counts or {}).get(severity, {}).get(code, 0), len(its)),
            tuple(its),
            _the_same(finding.message for finding in its),
            _the_same(finding.advice for finding in its),
        )
        for (severity, code), its in kept.items()
    ]


def finding_lines(
    findings: Iterable[Finding],
    counts: FindingCounts | None = None,
    most_of_a_code: int | None = None,
) -> list[Text]:
    """The findings by code, worst first: what all of a code have in common is said once."""
    groups = finding_groups(findings, counts)
    return [line for group in groups for line in _group_lines(group, most_of_a_code)]


def finding_line(finding: Finding) -> Text:
    """One finding on one line: severity, place, message, text there, advice."""
    where = finding_place(finding)
    return Text.assemble(
        (finding.severity.value, _STYLES[finding.severity]),
        f"  {where}: " if where else "  ",
        f"{shortened(finding.message)} {_quoted(finding)}".rstrip(),
        (f" {shortened(finding.advice)}", "dim"),
    )


def _group_lines(group: FindingGroup, most: int | None) -> list[Text]:
    shown = group.findings[:most]
    times = f" ({group.count:,} times)" if group.count > 1 else ""
    head = Text.assemble(
        (f"{group.severity.value:<7}", _STYLES[group.severity]),
        "  ",
        (clean_line(group.code) + times, "bold"),
        f"  {shortened(group.message)}" if group.message else "",
    )
    advice = [Text(f"{_INDENT}→ {shortened(group.advice)}", "green")] if group.advice else []
    places = [line for finding in shown for line in _place_lines(finding, group)]
    return [head, *advice, *places, *_more(group.count - len(shown))]


def _place_lines(finding: Finding, group: FindingGroup) -> list[Text]:
    """Where one finding of a group is, and what is its own."""
    message = "" if group.message else shortened(finding.message)
    told = [Text(finding_place(finding), "cyan"), Text(message), Text(_quoted(finding))]
    parts = [part for part in told if part.plain]
    lines = [Text(_INDENT) + Text("  ").join(parts)] if parts else []
    if finding.advice and not group.advice:
        lines.append(Text(f"{_INDENT}  → {shortened(finding.advice)}", "green"))
    return lines


def finding_place(finding: Finding) -> str:
    """Conversation, turn and place in the file, as far as the finding has them."""
    return " · ".join(map(shortened, finding.places))


def _quoted(finding: Finding) -> str:
    return f"«{shortened(finding.snippet)}»" if finding.snippet else ""


def shortened(text: str) -> str:
    """Foreign text on one line, cleaned, of a length that can be shown."""
    line = clean_line(text[:_LONGEST_TEXT])
    return line if len(text) <= _LONGEST_TEXT else f"{line}…"


def _the_same(texts: Iterable[str]) -> str:
    """The text that all have in common, or nothing."""
    different = set(texts)
    return different.pop() if len(different) == 1 else ""


def _more(left: int) -> list[Text]:
    return [Text(f"{_INDENT}… and {left:,} more", "dim")] if left > 0 else []
