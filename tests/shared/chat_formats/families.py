"""Small tokenizers with the control tokens and chat templates of several families of models.

The vendors' templates are those that TRL ships as files. It has none of Mistral's and Phi-4's: the
short ones here say what theirs say without tools, and
`tests/agent/trainer/models/test_real_tokenizers.py` holds Mistral's formats against Mistral's own
encoder.
"""

from __future__ import annotations

import functools
import json
from importlib.util import find_spec
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from agent.trainer.models.tiny_llama import build_tokenizer
from shared.chat_formats.base import ChatFormat
from shared.chat_formats.known import (
    CHATML,
    GEMMA,
    LLAMA_3,
    LLAMA_3_1,
    MISTRAL_V3,
    MISTRAL_V3_MINISTRAL,
    MISTRAL_V3_TEKKEN,
    MISTRAL_V7,
    MISTRAL_V7_TEKKEN,
    PHI_4,
    QWEN_3,
)

_MISTRAL_V3 = """
{%- if messages[0]["role"] == "system" %}
    {%- set system_message, loop_messages = messages[0]["content"], messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("conversation roles must alternate") }}
    {%- endif %}
    {%- if message["role"] == "user" and loop.last and system_message is defined %}
        {{- "[INST]USER" + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
    {%- elif message["role"] == "user" %}
        {{- "[INST]USER" + message["content"] + "[/INST]" }}
    {%- else %}
        {{- ANSWER + eos_token }}
    {%- endif %}
{%- endfor %}"""

_MISTRAL_V7 = """
{{- bos_token }}
{%- if messages[0]["role"] != "system" %}
    {%- set today = strftime_now("%Y-%m-%d") %}
    {{- "[SYSTEM_PROMPT]USERToday is " + today + ".\\nBe brief.[/SYSTEM_PROMPT]" }}
{%- endif %}
{%- for message in messages %}
    {%- if message["role"] == "user" %}{{- "[INST]USER" + message["content"] + "[/INST]" }}
    {%- elif message["role"] == "system" %}
        {{- "[SYSTEM_PROMPT]USER" + message["content"] + "[/SYSTEM_PROMPT]" }}
    {%- else %}{{- ANSWER + eos_token }}{%- endif %}
{%- endfor %}"""

_PHI_4 = """
{%- for message in messages %}
    {{- "<|im_start|>" + message["role"] + "<|im_sep|>" + message["content"] + "<|im_end|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant<|im_sep|>" }}{%- endif %}"""

_SMOLLM2 = """
{%- if messages[0]["role"] != "system" -%}
    {{ "<|im_start|>system\\nYou are a small model, and kind.<|im_end|>\\n" }}
{%- endif -%}
{%- for message in messages -%}
    {{ "<|im_start|>" + message["role"] + "\\n" + message["content"] + "<|im_end|>\\n" }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ "<|im_start|>assistant\\n" }}{%- endif -%}"""

_PLAIN, _SPACED, _TRIMMED = (
    'message["content"]',
    '" " + message["content"]',
    '" " + message["content"]|trim',
)


def _trl(name: str) -> str:
    """A vendor's template, as TRL ships it; TRL itself takes seconds to import."""
    spec = find_spec("trl")
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")


def _mistral(template: str, user: str, answer: str) -> str:
    return template.strip().replace("USER", user).replace("ANSWER", answer)


FAMILIES: dict[str, ChatFormat] = {
    "llama3": LLAMA_3,
    "llama3_1": LLAMA_3_1,
    "llama3_2": LLAMA_3_1,
    "smollm2": CHATML,
    "qwen2_5": CHATML,
    "qwen3": QWEN_3,
    "qwen3_instruct_2507": CHATML,
    "phi4": PHI_4,
    "gemma": GEMMA,
    "gemma3": GEMMA,
    "mistral_v3_tekken": MISTRAL_V3_TEKKEN,
    "mistral_v3_ministral": MISTRAL_V3_MINISTRAL,
    "mistral_v3": MISTRAL_V3,
    "mistral_v7_tekken": MISTRAL_V7_TEKKEN,
    "mistral_v7": MISTRAL_V7,
}
"""Whose template -> the format that must be chosen for it."""

_OWN_TEMPLATES = {
    "smollm2": _SMOLLM2.strip(),
    "phi4": _PHI_4.strip(),
    "mistral_v3_tekken": _mistral(_MISTRAL_V3, "", _PLAIN),
    "mistral_v3_ministral": _mistral(_MISTRAL_V3, "", _TRIMMED),
    "mistral_v3": _mistral(_MISTRAL_V3, " ", _TRIMMED),
    "mistral_v7_tekken": _mistral(_MISTRAL_V7, "", _PLAIN),
    "mistral_v7": _mistral(_MISTRAL_V7, " ", _SPACED),
}

_SENTENCE_PIECE = {"mistral_v3", "mistral_v7"}
_NOT_CALLED_SPECIAL = {"<think>", "</think>", "<tool_call>"}

REFUSES_SYSTEM = {"gemma"}


@functools.cache
def family_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer of that family, with its template."""
    control = list(FAMILIES[name].special_tokens)
    if name.startswith("qwen"):  # Qwen 3 (2507) has the tokens of thinking, and does not use them.
        control += [token for token in _NOT_CALLED_SPECIAL if token not in control]
    tokenizer = _metaspace() if name in _SENTENCE_PIECE else _byte_level()
    for token in control:
        tokenizer.add_tokens([AddedToken(token, special=token not in _NOT_CALLED_SPECIAL)])
    begins = ("<|begin_of_text|>", "<bos>", "<s>")
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=next((token for token in begins if token in control), None),
        eos_token=FAMILIES[name].end_of_turn,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = _OWN_TEMPLATES.get(name) or _trl(name)
    return made


@functools.cache
def _built() -> str:
    return build_tokenizer().backend_tokenizer.to_str()


def _byte_level() -> Tokenizer:
    return Tokenizer.from_str(_built())


def _metaspace() -> Tokenizer:
    """As converted SentencePiece vocabularies are: spaces are characters, bytes the last resort."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    words = "The user said hello world and the model said so. Today is a day."
    tokenizer.train_from_iterator([words, "0123456789 abcdefghijklmnopqrstuvwxyz.,!?'"], trainer)
    # The trainer calls the bytes special, to have them all; real ones are plain entries.
    content = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps({**content, "added_tokens": []}))
