"""Checks of a training file before anything is rented or started.

Every finding says where it is (conversation, turn, place in the file), what is there, and what to
do. Token counts are exact with the base model's tokenizer, and say so when they are estimates.

Conversations come one at a time, and only figures and hashes of them are kept, so that a file may
be much larger than the memory.
"""

from __future__ import annotations

from shared.chat_format import ChatEncoder
from shared.dataset.checks.groups import Groups
from shared.dataset.checks.identity import Contents, Identities
from shared.dataset.checks.lengths import Lengths, OverLong, distribution
from shared.dataset.checks.metadata import DeclaredCounts, scaffolding_findings
from shared.dataset.checks.order import order_findings
from shared.dataset.checks.targets import target_findings
from shared.dataset.checks.texts import text_findings
from shared.dataset.checks.walk import texts_of
from shared.dataset.conversation import Conversation, Dataset, Declared
from shared.dataset.cut_targets import CutTargets
from shared.dataset.findings import Finding, FindingLog, Severity
from shared.dataset.report import DatasetReport


class Checker:
    """Takes the conversations of a file in their order, then gives the report."""

    def __init__(
        self,
        *,
        max_seq_length: int,
        cut_targets: CutTargets = "exclude",
        over_long: OverLong = "refuse",
        encoder: ChatEncoder | None = None,
    ) -> None:
        """Without an `encoder`, token counts are estimates."""
        self._max_seq_length = max_seq_length
        self._cut_targets = cut_targets
        self._is_estimate = encoder is None
        self._log = FindingLog()
        self._has_problems = False
        self._counts = DeclaredCounts()
        self._identities = Identities()
        self._system_prompts: set[int] = set()
        self._personas, self._emotional_arcs, self._training_topics = Groups(), Groups(), Groups()
        self._lengths = Lengths(
            max_seq_length=max_seq_length,
            cut_targets=cut_targets,
            over_long=over_long,
            encoder=encoder,
            on_finding=self._log.add,
            on_counted=lambda conversation, tokens: self._group(conversation, tokens=tokens),
        )

    @property
    def contents(self) -> Contents:
        """What tells the conversations apart, to compare files with each other."""
        return self._identities.contents

    @property
    def lengths(self) -> Lengths:
        """The figures of each row; complete once the report is made."""
        return self._lengths

    def add(self, conversation: Conversation) -> None:
        """Check the next conversation."""
        self._log.extend(target_findings(conversation, self._cut_targets))
        self._check_texts(conversation)
        self._log.extend(order_findings(conversation))
        self._log.extend(scaffolding_findings(conversation))
        self._log.extend(self._counts.add(conversation))
        self._identities.add(conversation)
        self._group(conversation, conversations=1, targets=len(conversation.targets))
        self._lengths.add(conversation)

    def problem(self, finding: Finding) -> None:
        """Note a place that could not be read."""
        self._has_problems = True
        self._log.add(finding)

    def finish(self, shape: str, declared: Declared) -> DatasetReport:
        """The report on all that was added. Ask once."""
        self._lengths.count_waiting()
        lengths, totals = self._lengths, self._counts.totals
        trained = sum(lengths.targets)
        self._log.extend(self._whole_findings(trained, declared))
        return DatasetReport(
            shape=shape,
            conversations=totals.conversations,
            turns=totals.turns,
            targets=totals.targets,
            trained_targets=trained,
            rows=len(lengths.tokens),
            tokens=sum(lengths.tokens),
            longest_tokens=max(lengths.tokens, default=0),
            tokens_are_estimated=self._is_estimate,
            findings=self._log.findings,
            finding_counts=self._log.counts,
            unfolded_tokens=lengths.unfolded_tokens,
            supervised_tokens=lengths.supervised_tokens,
            system_prompts=len(self._system_prompts),
            lengths=distribution(lengths.tokens),
            personas=self._personas.groups,
            emotional_arcs=self._emotional_arcs.groups,
            training_topics=self._training_topics.groups,
            max_seq_length=self._max_seq_length,
            over_long=lengths.over_long,
            over_long_count=lengths.over_long_count,
            row_targets=tuple(lengths.targets),
        )

    def _whole_findings(self, trained_targets: int, declared: Declared) -> list[Finding]:
        found: list[Finding] = []
        has_targets = self._counts.totals.targets > 0
        if trained_targets == 0:
            found.append(
                Finding(
                    Severity.ERROR,
                    "no_targets",
                    "nothing in this file can be trained: "
                    + ("all targets are cut." if has_targets else "no pair has a target_response."),
                    "Export the file again with the assistant's answers in it.",
                )
            )
        found += self._identities.findings()
        if not self._has_problems:  # What could not be read explains a wrong count.
            found += self._counts.findings(declared)
        return found

    def _check_texts(self, conversation: Conversation) -> None:
        for text in texts_of(conversation):
            if text.role == "system":
                # Mostly one for the whole file: it is looked at once.
                if hash(text.content) in self._system_prompts:
                    continue
                self._system_prompts.add(hash(text.content))
            self._log.extend(text_findings(text))

    def _group(
        self, conversation: Conversation, conversations: int = 0, targets: int = 0, tokens: int = 0
    ) -> None:
        for groups, name in (
            (self._personas, conversation.persona),
            (self._emotional_arcs, conversation.emotional_arc),
            (self._training_topics, conversation.training_topic),
        ):
            groups.add(name, conversations=conversations, targets=targets, tokens=tokens)


def check_dataset(
    dataset: Dataset,
    *,
    max_seq_length: int,
    cut_targets: CutTargets = "exclude",
    over_long: OverLong = "refuse",
    encoder: ChatEncoder | None = None,
) -> DatasetReport:
    """Count and check everything in `dataset`; without an `encoder`, token counts are estimates."""
    checker = Checker(
        max_seq_length=max_seq_length,
        cut_targets=cut_targets,
        over_long=over_long,
        encoder=encoder,
    )
    for conversation in dataset.conversations:
        checker.add(conversation)
    return checker.finish(dataset.shape, dataset.declared)
