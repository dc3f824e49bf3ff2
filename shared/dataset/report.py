"""What a check says of a training file: counts, lengths, groups and findings. Plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from shared.dataset.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class LengthDistribution:
    """Tokens of the folded rows, in bins of equal width."""

    bin_tokens: int = 1
    """Width of a bin; bin i holds rows of i * bin_tokens to (i + 1) * bin_tokens - 1 tokens."""
    counts: tuple[int, ...] = ()
    """Rows in each bin, without empty ones at the end."""
    median: int = 0
    p90: int = 0
    p99: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """The conversations of one persona, arc or topic; `name` is empty for those without."""

    name: str
    conversations: int
    targets: int
    tokens: int
    """Folded."""


@dataclass(frozen=True, slots=True)
class OverLongRow:
    """What truncation at max_seq_length would do to a row. Bright Run never truncates."""

    conversation_id: str
    location: str
    tokens: int
    cut_tokens: int
    lost_turns: tuple[int, ...]
    """Turns whose target would be lost whole."""
    damaged_turns: tuple[int, ...]
    """Turns whose target would be cut in part."""


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """Counts and findings of one file."""

    shape: str
    conversations: int
    turns: int
    targets: int
    trained_targets: int
    rows: int
    tokens: int
    """Tokens of one epoch, folded, held-out conversations included."""
    longest_tokens: int
    tokens_are_estimated: bool
    findings: tuple[Finding, ...]
    """Worst first; at most `MOST_FINDINGS_OF_A_CODE` of each code."""
    finding_counts: dict[Severity, dict[str, int]] = field(default_factory=dict)
    """All of them: severity -> code -> count."""
    unfolded_tokens: int = 0
    """Tokens of one epoch with one sample for each target."""
    supervised_tokens: int = 0
    """Tokens of one epoch that carry loss: targets and the ends of their turns."""
    system_prompts: int = 0
    """How many different ones there are."""
    lengths: LengthDistribution = LengthDistribution()
    personas: tuple[Group, ...] = ()
    """Most conversations first; so for arcs and topics."""
    emotional_arcs: tuple[Group, ...] = ()
    training_topics: tuple[Group, ...] = ()
    max_seq_length: int = 0
    over_long: tuple[OverLongRow, ...] = ()
    """Longest first; at most 200."""
    over_long_count: int = 0
    row_targets: tuple[int, ...] = ()
    """Trained targets of each row, in file order: what the plan of steps needs."""

    @property
    def null_turns(self) -> int:
        """Turns without a target: the user's."""
        return self.turns - self.targets

    def count(self, severity: Severity) -> int:
        """Findings of this severity, those included that were not kept."""
        return sum(self.finding_counts.get(severity, {}).values())

    @property
    def has_errors(self) -> bool:
        return self.count(Severity.ERROR) > 0

    @property
    def has_warnings(self) -> bool:
        return self.count(Severity.WARNING) > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; of bounded size, so without a figure for each row."""
        plain = asdict(self)
        del plain["row_targets"]
        return plain
