"""A report of a check, made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.dataset.findings import Finding, FindingLog, Severity
from shared.dataset.report import DatasetReport, Group, LengthDistribution, OverLongRow

_REPORT = DatasetReport(
    shape="by hand",
    conversations=12,
    turns=89,
    targets=44,
    trained_targets=40,
    rows=12,
    tokens=24_000,
    longest_tokens=4_529,
    tokens_are_estimated=False,
    findings=(),
    unfolded_tokens=50_000,
    supervised_tokens=12_000,
    system_prompts=1,
    lengths=LengthDistribution(500, (3, 6, 0, 1, 0, 0, 0, 0, 0, 2), 600, 1_600, 4_529),
    personas=(Group("anxious_planner", 8, 30, 16_000), Group("", 4, 14, 8_000)),
    max_seq_length=4_096,
    over_long=(
        OverLongRow("first", "conversations[3]", 4_529, 433, (10, 12), (8,)),
        OverLongRow("second", "conversations[5]", 4_500, 404, (), (12,)),
    ),
    over_long_count=2,
    row_targets=(3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4),
)


def report(*findings: Finding, **fields: Any) -> DatasetReport:
    """Twelve conversations, two of them too long, with these findings; `fields` replace its own."""
    log = FindingLog()
    log.extend(findings)
    found = {"findings": log.findings, "finding_counts": log.counts}
    return replace(_REPORT, **{**found, **fields})


def finding(
    severity: Severity = Severity.WARNING, code: str = "cut_target", **fields: Any
) -> Finding:
    """A finding; `fields` replace its own."""
    given = {"message": "the answer ends in mid-sentence.", "advice": "Mend it.", **fields}
    return Finding(severity, code, **given)
