"""Every family of models in turn."""

from __future__ import annotations

import pytest

from shared.chat_format import ChatEncoder
from tests.shared.chat_formats.families import FAMILIES, family_tokenizer
from tests.shared.conftest import Base


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Whose tokenizer and template."""
    return str(request.param)


@pytest.fixture(scope="session")
def base(family: str) -> Base:
    return Base(family_tokenizer(family))


@pytest.fixture(scope="session")
def encoder(base: Base) -> ChatEncoder:
    return base.encoder
