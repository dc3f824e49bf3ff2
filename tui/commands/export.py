"""`brightrun export`: an adapter merged into its base model, as safetensors and as GGUF."""

from __future__ import annotations

from typing import Any

from shared.number_text import many, number, size
from tui import exit_codes
from tui.commands.output import print_json, print_pairs
from tui.config import load_config
from tui.services.exporter import ExportOptions, export_adapter


async def export(options: ExportOptions, *, as_json: bool) -> int:
    """Merge and convert, and print where the result is and how faithful it is."""
    exported = await export_adapter(options, load_config().agent_root)
    if exported.result is None:
        known = (exit_codes.INVALID_INPUT, exit_codes.INTEGRITY)
        return exported.exit_code if exported.exit_code in known else exit_codes.JOB_FAILED
    if as_json:
        print_json(exported.result)
    else:
        print_pairs(_pairs(exported.result))
    return exit_codes.OK


def _pairs(result: dict[str, Any]) -> list[tuple[str, str]]:
    positions = many(result["positions"], "token")
    from_trainer = number(result["trainer_logit_difference"], ".4g")
    pairs = [
        ("merged", f"{result['merged']} ({size(result['size_bytes'])})"),
        ("base model", str(result["base"])),
        ("logit difference", f"{result['logit_difference']:.4g} from base plus adapter in bf16"),
        ("", f"{from_trainer} from the trainer's logits, whose base was in NF4"),
        ("same tokens", f"{result['same_tokens']} of {positions}"),
    ]
    if "gguf" in result:
        pairs.append(("gguf", f"{result['gguf']} ({size(result['gguf_size_bytes'])})"))
    return pairs
