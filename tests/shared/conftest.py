"""Tokenizers with the chat templates of several families, each with the encoder chosen for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from shared.chat_format import ChatEncoder, choose_chat_format

if TYPE_CHECKING:  # transformers takes seconds to import, and most tests here do without
    from transformers import PreTrainedTokenizerFast

    from agent.trainer.models.base_model import TemplateRenderer

CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Base:
    """A base model's tokenizer, and our encoder for it."""

    tokenizer: PreTrainedTokenizerFast

    @property
    def encoder(self) -> ChatEncoder:
        return choose_chat_format(self.tokenizer.backend_tokenizer, self.render)

    @property
    def render(self) -> TemplateRenderer:
        """Token ids of the tokenizer's own template."""
        from agent.trainer.models.base_model import TemplateRenderer

        return TemplateRenderer(self.tokenizer)

    @property
    def control_ids(self) -> set[int]:
        """Ids of all special tokens."""
        added = self.tokenizer.backend_tokenizer.get_added_tokens_decoder()
        return {token_id for token_id, token in added.items() if token.content.startswith("<|")}

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.backend_tokenizer.decode(list(ids), skip_special_tokens=False)


@pytest.fixture(scope="session")
def llama() -> Base:
    from agent.trainer.models.tiny_llama import build_tokenizer

    return Base(build_tokenizer())


@pytest.fixture(scope="session")
def chatml(llama: Base) -> Base:
    """The same vocabulary with ChatML's two tokens; `<|im_start|>` is not marked special."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(llama.tokenizer.backend_tokenizer.to_str())
    tokenizer.add_tokens([AddedToken("<|im_start|>", special=False)])
    tokenizer.add_special_tokens(["<|im_end|>"])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)
    made.chat_template = CHATML_TEMPLATE
    return Base(made)


@pytest.fixture(scope="session", params=["llama", "chatml"])
def base(request: pytest.FixtureRequest) -> Base:
    """Each of the two in turn."""
    found: Base = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def encoder(base: Base) -> ChatEncoder:
    return base.encoder
