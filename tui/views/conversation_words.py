"""A conversation in words: which one it is, what it is about, and how many tokens it has."""

from __future__ import annotations

from shared.clean_text import clean_line
from shared.dataset.token_view import ConversationView
from shared.number_text import many
from tui.services.found_conversation import Found

NO_TOKENIZER = "the tokenizer of the base model is not here: text only, counts are estimates"


def place_words(found: Found) -> str:
    """`3 · 85d3e584-... · line 12`; the number is left out while it is not known."""
    conversation = found.conversation
    number = "" if found.number is None else f"{found.number:,}"
    parts = [number, clean_line(conversation.conversation_id), clean_line(conversation.location)]
    return " · ".join(part for part in parts if part)


def scaffolding_words(found: Found) -> str:
    """Persona, arc and topic; empty where the file has no place for them."""
    conversation = found.conversation
    if not conversation.is_scaffolded:
        return ""
    labels = (
        ("persona", conversation.persona),
        ("arc", conversation.emotional_arc),
        ("topic", conversation.training_topic),
    )
    return " · ".join(clean_line(label) or f"no {name}" for name, label in labels)


def count_words(view: ConversationView) -> str:
    """`1,217 tokens, 512 trained, none cut at max_seq_length 4,096`; estimates say so."""
    rows = [row for row in view.rows if row.messages]
    if not rows:
        return "nothing in it is trained"
    about = "" if view.is_exact else "about "
    words = [f"{about}{many(view.token_count, 'token')}"]
    if view.trained_count is not None:
        words.append(f"{view.trained_count:,} trained")
    cut = f"{about}{view.cut_count:,}" if view.cut_count else "none"
    return f"{', '.join(words)}, {cut} cut at max_seq_length {rows[0].max_seq_length:,}"
