"""An adapter as one ZIP file for somebody who has never heard of brightrun.

The same adapter gives the same bytes, on any day and any machine. Weights do not shrink, so nothing
is compressed. Knows only the adapter's own directory; blocks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from shared.clean_text import clean_line
from shared.dataset.writing.new_file import new_file
from shared.manifest import MANIFEST_NAME, manifest_sha256, verify
from shared.number_text import loss, size

_FOLDER = "adapter"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest moment that a ZIP file knows: the same in every package."""
_COPY_BYTES = 2**20
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def write_package(adapter: Path, target: Path) -> Path:
    """Make `target` of the adapter's files, once each has its hash, and a README.

    Raises:
        IntegrityError: the adapter is not whole.
        InvalidInput: `target` is there already, or cannot be written.
    """
    manifest = verify(adapter)
    own = manifest_sha256(adapter)
    name = target.name.removesuffix(".zip")
    with new_file(target) as file, ZipFile(file, "w", ZIP_STORED) as package:
        package.writestr(_entry(f"{name}/README.md"), readme(manifest, own))
        for each in [*sorted(manifest["files"]), MANIFEST_NAME]:
            entry = _entry(f"{name}/{_FOLDER}/{each}")
            entry.file_size = (adapter / each).stat().st_size
            with (adapter / each).open("rb") as source, package.open(entry, "w") as copy:
                while chunk := source.read(_COPY_BYTES):
                    copy.write(chunk)
    return target


def readme(manifest: Mapping[str, Any], own_sha256: str) -> str:
    """For the recipient: what this is, how it is loaded, how it is checked, under what terms."""
    base = clean_line(str(manifest.get("base_model", "")))
    revision = clean_line(str(manifest.get("base_model_revision") or ""))
    return "\n".join(
        [
            f"# LoRA adapter for {_code(base)}",
            "",
            "A small set of weights that is loaded on top of a base model. The base model is not "
            "in this package: you need it as well, and the right to use it.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in _facts(manifest, own_sha256)),
            "",
            *_loading(base, revision),
            *_checking(manifest, own_sha256),
            "## Terms",
            "",
            f"The licence and the terms of use of {_code(base)} hold for what is made of it, so "
            "for this adapter too. It may repeat what it was trained on: treat it as "
            "confidentially as its training file. Who gave it to you says what else you may do "
            "with it.",
            "",
            f"How it was trained, and its limits: `{_FOLDER}/README.md`.",
            "",
        ]
    )


def _facts(manifest: Mapping[str, Any], own_sha256: str) -> list[tuple[str, str]]:
    dataset = manifest.get("dataset") or {}
    chosen = manifest.get("hyperparameters") or {}
    facts = [
        ("base model", manifest.get("base_model")),
        ("its revision", manifest.get("base_model_revision")),
        ("LoRA rank and alpha", f"{chosen.get('lora_r')}, {chosen.get('lora_alpha')}"),
        ("chat format", manifest.get("chat_format")),
        ("held-out loss of the base model", loss(manifest.get("base_eval_loss"))),
        ("held-out loss with the adapter", loss(manifest.get("eval_loss"))),
        ("sha256 of the training file", dataset.get("sha256")),
        ("sha256 of the manifest", own_sha256),
    ]
    return [(name, _code(value)) for name, value in facts if value]


def _loading(base: str, revision: str) -> list[str]:
    known = _HUB_ID.fullmatch(base) is not None
    where = json.dumps(base if known else "PATH/OF/THE/BASE/MODEL")
    if known and revision:
        where += f", revision={json.dumps(revision)}"
    return [
        "## Loading it",
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'base = AutoModelForCausalLM.from_pretrained({where}, dtype="bfloat16")',
        f'model = PeftModel.from_pretrained(base, "{_FOLDER}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{_FOLDER}")',
        "```",
        "",
        "The tokenizer brings the chat template that the adapter was trained with; use no other.",
        "",
    ]


def _checking(manifest: Mapping[str, Any], own_sha256: str) -> list[str]:
    lines = [f"{facts['sha256']}  {_FOLDER}/{name}" for name, facts in _files(manifest)]
    sizes = sum(int(facts["size_bytes"]) for _, facts in _files(manifest))
    return [
        "## Checking it",
        "",
        f"{size(sizes)}. Kept in a file `SHA256SUMS`, these lines are checked by "
        "`sha256sum -c SHA256SUMS`:",
        "",
        "```",
        *lines,
        f"{own_sha256}  {_FOLDER}/{MANIFEST_NAME}",
        "```",
        "",
    ]


def _files(manifest: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted((clean_line(str(name)), facts) for name, facts in manifest["files"].items())


def _code(value: object) -> str:
    """In a code span, where nothing of it is taken for markup."""
    return "`" + clean_line(str(value)).replace("`", "'").replace("|", "\\|") + "`"


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, _LONG_AGO)
    entry.create_system = 3  # Unix, on whatever it is made.
    entry.external_attr = 0o100644 << 16
    return entry
