"""The text behind each token, exactly: joined, the texts of all tokens are the text again.

Byte-level vocabularies cut inside characters: an emoji may be three tokens. Such a character is
counted as the text of the token that ends it, and the ones before have no text but their bytes.
Knows nothing of chat formats or of what is trained.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a rendered row."""

    token_id: int
    text: str
    """Empty where a character is not complete yet."""
    raw: bytes
    """What it stands for, in UTF-8; may be a part of a character."""
    is_special: bool
    is_trained: bool
    """Carries loss."""
    message: int
    """Index of the message that it belongs to; what stands before the first counts with it."""

    @property
    def spelled(self) -> str:
        """The text, with `<0xF0>` for each byte of a character that is not whole in here."""
        return _spelled(self.raw)


def raw_of_tokens(
    names: Sequence[str], offsets: Sequence[tuple[int, int]], text: str
) -> list[bytes]:
    """The bytes of each token of `text`, from its name in the vocabulary.

    `offsets` (in characters) are used where the names are not of a byte-level vocabulary, or where
    the tokenizer has changed the text; then every character is whole in one token.
    """
    try:
        raws = [bytes(map(_BYTES.__getitem__, name)) for name in names]
    except KeyError:
        return _raw_by_offsets(offsets, text)
    return raws if b"".join(raws) == text.encode() else _raw_by_offsets(offsets, text)


def texts_of_raw(raws: Sequence[bytes]) -> list[str]:
    """The characters that end in each token; together the bytes are valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(raw) for raw in raws]


def _raw_by_offsets(offsets: Sequence[tuple[int, int]], text: str) -> list[bytes]:
    # Ends only: some tokenizers leave white space out of the offsets, and it has to be somewhere.
    ends, last = [], 0
    for _, end in offsets:
        last = max(last, end)
        ends.append(last)
    if ends:
        ends[-1] = len(text)
    starts = [0, *ends]
    return [text[start:end].encode() for start, end in zip(starts, ends, strict=False)]


def _spelled(raw: bytes) -> str:
    parts = []
    while raw:
        try:
            parts.append(raw.decode())
            break
        except UnicodeDecodeError as error:
            broken = raw[error.start : error.end]
            parts += [raw[: error.start].decode(), *(f"<0x{byte:02X}>" for byte in broken)]
            raw = raw[error.end :]
    return "".join(parts)


def _byte_of_characters() -> dict[str, int]:
    """How byte-level vocabularies spell bytes: printable Latin-1 as itself, the rest from U+0100.

    Source: the byte-level BPE of GPT-2 (2019), which all of them follow.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(0x100) if byte not in set(printable))
    spelled = {chr(byte): byte for byte in printable}
    spelled.update((chr(0x100 + place), byte) for place, byte in enumerate(others))
    return spelled


_BYTES = _byte_of_characters()
