"""What the preview shows of a conversation: the rows that are trained, and what is left out."""

from __future__ import annotations

from pathlib import Path

from shared.dataset.conversation import Conversation, Message
from shared.dataset.cut_targets import CutTargets
from shared.dataset.reader import read_dataset
from shared.dataset.token_view import MOST_PAIRS, ConversationView, ViewedMessage, view_conversation
from tests.shared.dataset.documents import asked, branched, talk
from tests.shared.small_tokenizer import small_encoder

ENCODER = small_encoder()


def view(
    conversation: Conversation, max_seq_length: int = 4096, cut_targets: CutTargets = "exclude"
) -> ConversationView:
    return view_conversation(
        conversation, encoder=ENCODER, max_seq_length=max_seq_length, cut_targets=cut_targets
    )


def test_a_conversation_is_one_row_with_every_answer_trained() -> None:
    shown = view(talk("c", "hello", "Hi.", "And?", "Well.", system="Be kind."))

    [row] = shown.rows
    assert [message.is_trained for message in row.messages] == [False, False, True, False, True]
    assert row.tokens is not None
    trained = "".join(token.text for token in row.tokens if token.is_trained)
    assert trained == "Hi.<|eot_id|>Well.<|eot_id|>"
    # H i . W e ll . and two ends of turns
    assert (shown.token_count, shown.trained_count) == (len(row.tokens), 9)
    assert shown.cut_count == 0
    assert row.not_fed == ()


def test_tokens_beyond_max_seq_length_are_counted_as_cut() -> None:
    whole = view(talk("c", "hello", "Hi."))
    assert view(talk("c", "hello", "Hi."), whole.token_count - 3).cut_count == 3
    assert view(talk("c", "hello", "Hi."), whole.token_count).cut_count == 0


def test_a_target_cut_in_mid_sentence_is_context_of_what_follows_and_marked() -> None:
    conversation = talk("c", "hello", "Cut in the\\", "And?", "Well.")

    [row] = view(conversation).rows
    assert [m.is_trained for m in row.messages] == [False, False, False, True]
    assert [m.is_cut_target for m in row.messages] == [False, True, False, False]

    [trained] = view(conversation, cut_targets="train").rows
    assert [m.is_trained for m in trained.messages] == [False, True, False, True]
    assert not any(message.is_cut_target for message in trained.messages)


def test_what_no_trained_answer_follows_is_shown_as_not_fed() -> None:
    [row] = view(talk("c", "hello", "Hi.", "And?", "Cut off\\", "So?")).rows

    assert [message.content for message in row.messages] == ["hello", "Hi."]
    assert row.not_fed == (
        ViewedMessage("user", "And?"),
        ViewedMessage("assistant", "Cut off\\", is_cut_target=True),
        ViewedMessage("user", "So?"),
    )


def test_a_conversation_without_any_target_is_shown_whole_as_not_fed() -> None:
    shown = view(talk("c", "hello"))

    [row] = shown.rows
    assert (row.messages, row.tokens, shown.token_count, shown.trained_count) == ((), (), 0, 0)
    assert [message.content for message in row.not_fed] == ["hello"]


def test_each_branch_is_a_row_and_one_without_a_target_is_not_lost() -> None:
    shown = view(
        branched(
            "c",
            asked(2, "hello", target="One."),
            asked(2, "Good day", target="Two."),
            asked(4, "Good day", "Two.", "And?", target=None),
            asked(2, "Only asked", target=None),
        )
    )

    texts = [[message.content for message in row.messages] for row in shown.rows]
    assert texts == [["hello", "One."], ["Good day", "Two."], []]
    left = [[message.content for message in row.not_fed] for row in shown.rows]
    assert left == [[], ["And?"], ["Only asked"]]


def test_without_a_tokenizer_there_are_messages_and_an_estimate() -> None:
    shown = view_conversation(talk("c", "hello", "Hi."), encoder=None, max_seq_length=8)

    [row] = shown.rows
    assert row.tokens is None
    assert not shown.is_exact
    assert shown.trained_count is None
    assert (row.token_count, row.cut_count) == (13, 5)
    assert [message.is_trained for message in row.messages] == [False, True]


def test_an_id_that_a_whole_file_shares_does_not_make_an_endless_view() -> None:
    pairs = [asked(2, f"Question {n}", target="Yes.") for n in range(MOST_PAIRS + 7)]
    shown = view_conversation(branched("c", *pairs), encoder=None, max_seq_length=4096)

    assert (len(shown.rows), shown.pairs_left_out) == (MOST_PAIRS, 7)


def test_in_a_real_file_every_message_is_shown_once_and_every_sound_target_is_trained(
    real_file: Path,
) -> None:
    for conversation in read_dataset(real_file).conversations:
        [row] = view_conversation(conversation, encoder=None, max_seq_length=4096).rows
        shown = [Message(m.role, m.content) for m in (*row.messages, *row.not_fed)]
        last = conversation.pairs[-1]
        answer = [] if last.target is None else [Message("assistant", last.target)]
        assert shown == [*last.context, *answer]
        cut = sum(message.is_cut_target for message in (*row.messages, *row.not_fed))
        trained = sum(message.is_trained for message in row.messages)
        assert trained + cut == len(conversation.targets)
