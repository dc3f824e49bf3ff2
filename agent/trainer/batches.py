"""From a training file to the exact tokens of every optimizer step.

path -> reader -> checks -> conversation split -> rows -> ids and labels -> step plan. The plan is a
pure function of the examples, the hyperparameters and the seed, so step n holds the same
conversations whether the run was interrupted or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.chat_format import IGNORED_LABEL, ChatEncoder, RenderTemplate
from shared.dataset.checks.checker import check_dataset
from shared.dataset.conversation import Conversation, Message
from shared.dataset.cut_targets import trained_rows
from shared.dataset.findings import Severity
from shared.dataset.folding import Row
from shared.dataset.reader import read_dataset
from shared.dataset.report import DatasetReport
from shared.dataset.split import split
from shared.dataset.step_plan import Step, plan_steps
from shared.errors import InvalidDataset, UnsupportedChatTemplate
from shared.job_spec import JobSpec
from shared.number_text import many

DRY_RUN_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Example:
    """One row, encoded; `input_ids` and `labels` are both (T,), labels not shifted."""

    conversation_id: str
    input_ids: list[int]
    labels: list[int]
    target_count: int
    messages: tuple[Message, ...]

    @property
    def supervised_tokens(self) -> int:
        """Positions that carry loss."""
        return sum(label != IGNORED_LABEL for label in self.labels)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Everything that will be fed to the model."""

    train: list[Example]
    held_out: list[Example]
    steps: list[Step]
    warnings: tuple[str, ...]

    @property
    def targets(self) -> int:
        return sum(example.target_count for example in self.train)

    @property
    def separate_rows(self) -> int:
        """Rows beyond one a conversation: what branches, or does not fold in the chat format."""
        return len(self.train) - len({example.conversation_id for example in self.train})

    @property
    def held_out_tokens(self) -> int:
        """Positions of the held-out examples that carry loss."""
        return sum(example.supervised_tokens for example in self.held_out)


def prepare(path: Path, job: JobSpec, encoder: ChatEncoder, render: RenderTemplate) -> TrainingData:
    """Read, check, split and encode the file of `job`.

    Raises:
        InvalidDataset: it cannot be read, or a check found an error.
        UnsupportedChatTemplate: a row's ids differ from the tokenizer's own template.
    """
    hyperparameters = job.hyperparameters
    dataset = read_dataset(path)
    report = check_dataset(
        dataset,
        max_seq_length=hyperparameters.max_seq_length,
        cut_targets=job.cut_targets,
        over_long=job.over_long,
        encoder=encoder,
    )
    if report.has_errors:
        raise InvalidDataset(f"{job.dataset.file_name}: {_first_error(report)}")
    train, held_out = split(
        dataset.conversations, hyperparameters.eval_fraction, hyperparameters.seed
    )
    encode = _encoder_of(job, encoder, render)
    train_examples = encode(train)
    if not train_examples:
        raise InvalidDataset(f"{job.dataset.file_name}: nothing is left to train after the checks.")
    if job.dry_run:
        train_examples = train_examples[:DRY_RUN_EXAMPLES]
    steps = plan_steps([item.target_count for item in train_examples], hyperparameters)
    return TrainingData(
        train=train_examples,
        held_out=encode(held_out),
        steps=steps[:1] if job.dry_run else steps,
        warnings=(*_warnings(report), *_row_warnings(train, job, encoder)),
    )


def _warnings(report: DatasetReport) -> Iterator[str]:
    """One for each code: the first finding, and how many there are; a check lists all of them."""
    for code, count in report.finding_counts.get(Severity.WARNING, {}).items():
        first = next(item for item in report.findings if item.code == code)
        times = [f"{count} times, first in"] if count > 1 else []
        where = " ".join([*times, ", ".join(first.places) or "the file"])
        yield f"{code}: {first.message} ({where})"


def _row_warnings(
    conversations: list[Conversation], job: JobSpec, encoder: ChatEncoder
) -> Iterator[str]:
    """Why there are more rows than conversations, where there are."""
    folded = [len(trained_rows(item, job.cut_targets)) for item in conversations]
    fed = [len(rows) for rows in _rows_of(conversations, job, encoder)]
    branches = sum(count - 1 for count in folded if count)
    if branches:
        told = "where histories branch or differ, or the same context is answered twice"
        yield f"separate_rows: {many(branches, 'row')} beyond one a conversation, {told}"
    if apart := sum(fed) - sum(folded):
        chat_format = encoder.chat_format
        yield (
            f"separate_rows: {many(apart, 'row')} more, since with the {chat_format.name} format "
            f"{chat_format.depends_on_later}: what an answer would see in one row with later ones "
            "is not what it sees when it is asked for"
        )


def _rows_of(
    conversations: list[Conversation], job: JobSpec, encoder: ChatEncoder
) -> Iterator[list[Row]]:
    for item in conversations:
        yield trained_rows(item, job.cut_targets, encoder.chat_format.folds_exactly)


def _first_error(report: DatasetReport) -> str:
    """The first of them in words, and how many more there are."""
    first, others = report.findings[0], report.count(Severity.ERROR) - 1
    where = ", ".join(first.places)
    more = f" ({many(others, 'more error')})" if others else ""
    return f"{where}{': ' * bool(where)}{first.message} {first.advice}{more}"


def _encoder_of(
    job: JobSpec, encoder: ChatEncoder, render: RenderTemplate
) -> Callable[[list[Conversation]], list[Example]]:
    limit = job.hyperparameters.max_seq_length

    def encode(conversations: list[Conversation]) -> list[Example]:
        rows = [row for rows in _rows_of(conversations, job, encoder) for row in rows]
        examples = [_encode_row(row, encoder, render) for row in rows]
        return [example for example in examples if len(example.input_ids) <= limit]

    return encode


def _encode_row(row: Row, encoder: ChatEncoder, render: RenderTemplate) -> Example:
    # A forged control token is the one case in which the template's own rendering is wrong.
    is_plain = not any(encoder.spells_control_token(message.content) for message in row.messages)
    if is_plain:
        _prove(row, encoder, render)
    input_ids, labels = encoder.encode(row)
    return Example(row.conversation_id, input_ids, labels, len(row.trained), row.messages)


def _prove(row: Row, encoder: ChatEncoder, render: RenderTemplate) -> None:
    try:
        matches = encoder.matches_template(row.messages, render)
    except UnsupportedChatTemplate as error:
        raise UnsupportedChatTemplate(f"conversation {row.conversation_id}: {error}") from error
    if not matches:
        raise UnsupportedChatTemplate(
            f"conversation {row.conversation_id}: our token ids differ from those of the base "
            f"model's own chat template ({encoder.chat_format.name}); it is not trained"
        )
