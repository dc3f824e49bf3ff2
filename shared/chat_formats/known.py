"""The chat formats that can be trained exactly, and which of them a template is of.

Formats whose control strings are no tokens of their own (Llama 2, Mistral before its third
tokenizer) are left out: a message could forge them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from shared.chat_formats.base import ChatFormat
from shared.chat_formats.mistral import MistralV3Format, MistralV7Format
from shared.chat_formats.thinking import ThinkingFormat
from shared.chat_formats.turns import TurnFormat

TODAY = "26 Jul 2024"
"""What templates that ask for today's date are told: the day that Llama 3.1's and 3.3's name when
they are told none (tokenizer_config.json of the models, July and December 2024). The real date
would give the same job other tokens tomorrow."""

LLAMA_3 = TurnFormat(
    name="llama-3",
    marks=("<|start_header_id|>",),
    begin="<|begin_of_text|>",
    before_role="<|start_header_id|>",
    after_role="<|end_header_id|>",
    header_end="\n\n",
    turn_end="<|eot_id|>",
    after_turn="",
    strips_content=True,
)
"""Meta-Llama-3-Instruct's template (tokenizer_config.json of the model, April 2024)."""

LLAMA_3_1 = replace(
    LLAMA_3,
    name="llama-3.1",
    marks=("<|start_header_id|>", "Cutting Knowledge Date: "),
    preface=f"Cutting Knowledge Date: December 2023\nToday Date: {TODAY}\n\n",
    default_system="",
)
"""Llama 3.1, 3.2 and 3.3: there is always a system turn, and it begins with two dates."""

CHATML = TurnFormat(
    name="chatml",
    marks=("<|im_start|>",),
    begin="",
    before_role="<|im_start|>",
    after_role="",
    header_end="\n",
    turn_end="<|im_end|>",
    after_turn="\n",
    strips_content=False,
)
"""ChatML as Qwen 2, 2.5 and 3 (2507) and SmolLM2 use it; some of them with a default system."""

QWEN_3 = ThinkingFormat(
    name="qwen-3",
    marks=("<|im_start|>", "</think>"),
    begin="",
    before_role="<|im_start|>",
    after_role="",
    header_end="\n",
    turn_end="<|im_end|>",
    after_turn="\n",
    strips_content=False,
)
"""Qwen 3 of April 2025, whose models answer with or without thinking."""

PHI_4 = replace(
    CHATML,
    name="phi-4",
    marks=("<|im_start|>", "<|im_sep|>"),
    after_role="<|im_sep|>",
    header_end="",
    after_turn="",
)

GEMMA = TurnFormat(
    name="gemma",
    marks=("<start_of_turn>",),
    begin="<bos>",
    before_role="<start_of_turn>",
    after_role="",
    header_end="\n",
    turn_end="<end_of_turn>",
    after_turn="\n",
    strips_content=True,
    assistant="model",
    system_in_first_turn=True,
)
"""Gemma 1 to 3. The templates of 1 and 2 refuse a system message."""

MISTRAL_V3_TEKKEN = MistralV3Format(
    name="mistral-v3-tekken",
    marks=("[INST]",),
    user_space="",
    answer_space="",
    strips_answers=False,
)
"""Mistral Nemo (July 2024)."""

MISTRAL_V3_MINISTRAL = replace(
    MISTRAL_V3_TEKKEN,
    name="mistral-v3-ministral",
    marks=("[INST]", '" " + message["content"]|trim'),
    answer_space=" ",
    strips_answers=True,
)
"""Ministral 8B (October 2024)."""

MISTRAL_V3 = replace(
    MISTRAL_V3_MINISTRAL,
    name="mistral-v3",
    marks=("[INST]", "[INST] ", '" " + message["content"]|trim'),
    user_space=" ",
)
"""Mistral 7B v0.3, Mixtral 8x22B, Mistral Small and Large of 2024: SentencePiece."""

MISTRAL_V7_TEKKEN = MistralV7Format(
    name="mistral-v7-tekken",
    marks=("[INST]", "[SYSTEM_PROMPT]"),
    user_space="",
    answer_space="",
    strips_answers=False,
)
"""Mistral Small 3 (January 2025) and later."""

MISTRAL_V7 = replace(
    MISTRAL_V7_TEKKEN,
    name="mistral-v7",
    marks=("[INST]", "[INST] ", "[SYSTEM_PROMPT]"),
    user_space=" ",
    answer_space=" ",
)
"""Mistral Large of November 2024: SentencePiece."""

CHAT_FORMATS: tuple[ChatFormat, ...] = (
    LLAMA_3,
    LLAMA_3_1,
    CHATML,
    QWEN_3,
    PHI_4,
    GEMMA,
    MISTRAL_V3_TEKKEN,
    MISTRAL_V3_MINISTRAL,
    MISTRAL_V3,
    MISTRAL_V7_TEKKEN,
    MISTRAL_V7,
)
"""Before each other where they share their tokens: the one to take where no template is known."""


def likely_formats(has_token: Callable[[str], bool], template: str) -> list[ChatFormat]:
    """The formats of which the vocabulary has all control tokens, this template's first.

    The template is only searched, never run. Empty where it is not known.
    """
    possible = [
        chat_format
        for chat_format in CHAT_FORMATS
        if all(map(has_token, chat_format.special_tokens))
    ]
    return sorted(possible, key=lambda chat_format: -_marks_found(chat_format, template))


def quoted_system(template: str) -> str | None:
    """What a template of ChatML says as the system by default, where it stands there whole."""
    found = _CHATML_SYSTEM.search(template)
    return found[1].replace("\\n", "\n") if found else None


_CHATML_SYSTEM = re.compile(r"<\|im_start\|>system(?:\\n|\n)([^'\"{}]+?)<\|im_end\|>")


def _marks_found(chat_format: ChatFormat, template: str) -> int:
    return len(chat_format.marks) if all(mark in template for mark in chat_format.marks) else 0
