"""An adapter as one ZIP file for somebody else."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from zipfile import ZipFile

import pytest

from shared.errors import IntegrityError, InvalidInput
from tests.tui.services.artifact_uploads.adapters import WEIGHTS, make_adapter
from tui.services.artifact_uploads.package import write_package
from tui.services.artifact_uploads.unpacking import unpack


def test_the_same_adapter_gives_the_same_bytes_on_another_day(tmp_path: Path) -> None:
    digests = set()
    for number, moment in enumerate((1_000_000_000, 1_700_000_000)):
        adapter = tmp_path / str(number) / "adapter"
        make_adapter(adapter)
        for path in adapter.iterdir():
            os.utime(path, (moment, moment))
            path.chmod(0o600 if number else 0o644)
        package = write_package(adapter, tmp_path / str(number) / "mine.zip")
        digests.add(hashlib.sha256(package.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_recipient_reads_what_it_is_how_it_loads_and_can_check_it(tmp_path: Path) -> None:
    own = make_adapter(tmp_path / "adapter")
    package = write_package(tmp_path / "adapter", tmp_path / "mine.zip")

    with ZipFile(package) as opened:
        text = opened.read("mine/README.md").decode()
        assert opened.read("mine/adapter/adapter_model.safetensors") == WEIGHTS
        sums = re.findall(r"^([0-9a-f]{64})  (\S+)$", text, re.MULTILINE)
        assert len(sums) == 5
        for sha256, name in sums:
            assert hashlib.sha256(opened.read(f"mine/{name}")).hexdigest() == sha256
    assert own in text
    assert '"meta-llama/Llama-3.3-70B", revision="0123abcd"' in text
    assert 'PeftModel.from_pretrained(base, "adapter")' in text
    assert "licence" in text


def test_names_from_outside_are_no_markup_in_the_readme(tmp_path: Path) -> None:
    make_adapter(tmp_path / "adapter", base_model="a`b|c\x1b[31m\n# Heading")
    package = write_package(tmp_path / "adapter", tmp_path / "mine.zip")
    text = ZipFile(package).read("mine/README.md").decode()
    assert "\x1b" not in text
    assert "\n# Heading" not in text
    assert "a'b\\|c" in text


def test_a_damaged_adapter_is_not_packed_and_nothing_is_overwritten(tmp_path: Path) -> None:
    make_adapter(tmp_path / "adapter")
    (tmp_path / "taken.zip").write_text("mine")
    with pytest.raises(InvalidInput, match="is there already"):
        write_package(tmp_path / "adapter", tmp_path / "taken.zip")
    assert (tmp_path / "taken.zip").read_text() == "mine"

    (tmp_path / "adapter" / "tokenizer.json").write_text("[]")
    with pytest.raises(IntegrityError):
        write_package(tmp_path / "adapter", tmp_path / "new.zip")
    assert not (tmp_path / "new.zip").exists()


def test_a_package_unpacks_to_the_adapter_it_was_made_of(tmp_path: Path) -> None:
    make_adapter(tmp_path / "adapter")
    package = write_package(tmp_path / "adapter", tmp_path / "mine.zip")
    adapter = unpack(package, tmp_path / "out")
    assert adapter == tmp_path / "out" / "mine" / "adapter"
    assert (adapter / "adapter_model.safetensors").read_bytes() == WEIGHTS
