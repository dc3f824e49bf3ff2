"""Trains one epoch with another project's trainer, under that project's own interpreter.

    PYTHON scripts/bench_peer_process.py llamafactory|axolotl REQUEST.json RESULT.json

Needs nothing of this project. The rows come as ids and labels, so every trainer gets the same
tokens. The settings are the peer's documented QLoRA ones, with what costs time without need on a
CPU switched off (checkpointing of activations, bf16), and one row a batch: nothing is padded.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

Request = dict[str, Any]
CUTOFF = 8192
"""No row of a real file is longer: nothing is cut."""


def main() -> None:
    """Train, save the adapter into the request's folder, and say what it cost."""
    peer, request_path, result_path = sys.argv[1:]
    request = json.loads(Path(request_path).read_text())
    importlib.import_module("torch").set_num_threads(request["threads"])
    clock = clock_class()()
    PEERS[peer](request, clock)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "cpu_s": clock.cpu_s,
        "wall_s": clock.wall_s,
        "steps": clock.steps,
        "last_loss": clock.last_loss,
        "peak_bytes": peak_bytes,
        "adapter": str(adapter_of(request)),
    }
    Path(result_path).write_text(json.dumps(result))


def adapter_of(request: Request) -> Path:
    """Where the peer saves."""
    return Path(request["folder"]) / "adapter"


def clock_class() -> Any:
    """A callback of the peer's transformers that times the training loop alone."""
    callback: Any = importlib.import_module("transformers").TrainerCallback

    class Clock(callback):
        cpu_s = wall_s = 0.0
        steps = 0
        last_loss: float | None = None

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.cpu_s, self.wall_s = -time.process_time(), -time.perf_counter()

        def on_log(self, *args: Any, logs: Any = None, **kwargs: Any) -> None:
            self.last_loss = (logs or {}).get("loss", self.last_loss)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.cpu_s += time.process_time()
            self.wall_s += time.perf_counter()
            self.steps = state.global_step

    return Clock


def llamafactory(request: Request, clock: Any) -> None:
    """LLaMA-Factory, on rows that it takes for its own tokenised ones."""
    datasets = importlib.import_module("datasets")
    tokenized = str(Path(request["folder"]) / "tokenized")
    train = datasets.Dataset.from_list(masked(request))
    datasets.DatasetDict({"train": train}).save_to_disk(tokenized)
    arguments = {
        **_common(request),
        "model_name_or_path": str(model_in_fp32(request)),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": request["lora_r"],
        "lora_target": ",".join(request["target_modules"]),
        "template": "llama3",
        "dataset": "tokenized",  # only has to be there: what is tokenised comes before it
        "tokenized_path": tokenized,
        "cutoff_len": CUTOFF,
        "quantization_bit": 4,
        "quantization_type": "nf4",
        "double_quantization": True,
        "flash_attn": "sdpa",
        "disable_gradient_checkpointing": True,
        "per_device_train_batch_size": 1,
        "num_train_epochs": 1,
        "lr_scheduler_type": "linear",
        "optim": "adamw_torch",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    importlib.import_module("llamafactory.train.tuner").run_exp(arguments, callbacks=[clock])


def model_in_fp32(request: Request) -> Path:
    """The model, to be computed in fp32: LLaMA-Factory takes what its config.json says, which is
    bf16, and that is ten times slower on a CPU without bf16 instructions."""
    copy = Path(request["folder"]) / "model"
    copy.mkdir()
    for path in Path(request["model"]).iterdir():
        (copy / path.name).symlink_to(path)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").unlink()
    (copy / "config.json").write_text(json.dumps({**config, "dtype": "float32"}))
    return copy


def axolotl(request: Request, clock: Any) -> None:
    """axolotl, on rows that it takes for its own tokenised ones."""
    folder = Path(request["folder"])
    rows_path = folder / "rows.jsonl"
    rows_path.write_text("\n".join(map(json.dumps, masked(request))))
    config = {
        **_common(request),
        "base_model": request["model"],
        "load_in_4bit": True,
        "adapter": "qlora",
        "lora_r": request["lora_r"],
        "lora_target_modules": request["target_modules"],
        "datasets": [{"path": str(rows_path), "ds_type": "json", "type": None}],
        "dataset_prepared_path": str(folder / "prepared"),
        "dataset_num_proc": 1,
        "val_set_size": 0,
        "sequence_len": CUTOFF,
        "sample_packing": False,
        "attn_implementation": "sdpa",
        "gradient_checkpointing": False,
        # Its own kernels for LoRA need CUDA, and are on by themselves.
        "lora_qkv_kernel": False,
        "lora_o_kernel": False,
        "lora_mlp_kernel": False,
        "lora_embedding_kernel": False,
        "micro_batch_size": 1,
        "num_epochs": 1,
        "lr_scheduler": "linear",
        "optimizer": "adamw_torch",
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "special_tokens": {"pad_token": request["pad_token"]},
    }
    # JSON is YAML.
    config_path = folder / "config.yaml"
    config_path.write_text(json.dumps(config))
    _clocked(importlib.import_module("transformers").Trainer, clock)
    loaded = importlib.import_module("axolotl.cli.config").load_cfg(str(config_path))
    cli_arguments = importlib.import_module("axolotl.cli.args").TrainerCliArgs()
    rows = importlib.import_module("axolotl.common.datasets").load_datasets(
        cfg=loaded, cli_args=cli_arguments
    )
    importlib.import_module("axolotl.train").train(cfg=loaded, dataset_meta=rows)


def masked(request: Request) -> list[dict[str, list[int]]]:
    """The rows with an attention mask, which both peers want to see."""
    rows = json.loads(Path(request["rows"]).read_text())
    return [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows]


def _common(request: Request) -> dict[str, Any]:
    """What both peers call by the same name."""
    return {
        "output_dir": str(adapter_of(request)),
        "lora_alpha": request["lora_alpha"],
        "lora_dropout": request["lora_dropout"],
        "learning_rate": request["learning_rate"],
        "gradient_accumulation_steps": request["accumulation"],
        "seed": request["seed"],
        "logging_steps": 1,
        "save_strategy": "no",
    }


def _clocked(trainer_class: Any, clock: Any) -> None:
    """Give every trainer our clock: axolotl takes callbacks from plugins only."""
    train = trainer_class.train

    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.add_callback(clock)
        return train(self, *args, **kwargs)

    trainer_class.train = timed


PEERS = {"llamafactory": llamafactory, "axolotl": axolotl}

# axolotl starts processes that import this file again.
if __name__ == "__main__":
    main()
