"""`brightrun dataset split`: what a job trains of a file, and what it holds out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.convert import Form
from shared.dataset.split import FEWEST_THAT_PROVE, LARGEST_LIFT, WANTED_HELD_OUT
from shared.hyperparameters import Hyperparameters
from shared.number_text import many
from tui import exit_codes
from tui.commands.dataset_convert import print_notes
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.progress_bar import shown_progress
from tui.services.file_split import (
    FileSplit,
    KeptTogether,
    Share,
    WrittenSplit,
    split_file,
    write_split,
)
from tui.views.dataset_report import NO_NAME

_MOST_CLUSTERS = 20
_MOST_IDS = 4


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """What was typed; None for what a job takes where nothing is said."""

    file: Path
    eval_fraction: float | None = None
    seed: int | None = None
    out: Path | None = None
    form: str | None = None
    as_json: bool = False


def show_split(options: SplitOptions) -> int:
    """Print what goes where, and write the two files where that is wanted.

    Raises:
        InvalidInput: a value out of range, or a file that cannot be read or written.
    """
    typed = {"eval_fraction": options.eval_fraction, "seed": options.seed}
    chosen = Hyperparameters.from_values({k: v for k, v in typed.items() if v is not None})
    try:
        with shown_progress(options.file.name) as on_progress:
            split = split_file(options.file, chosen.eval_fraction, chosen.seed, on_progress)
        form = None if options.form is None else Form(options.form)
        written = None if options.out is None else write_split(split, options.out, form)
    except KeyboardInterrupt:
        say("\ninterrupted.")
        return exit_codes.INTERRUPTED
    if options.as_json:
        print_json(_plain(split, chosen, written))
        return exit_codes.OK
    _print(split, chosen)
    for warning in warnings_of(split, chosen.eval_fraction):
        say_line(Text.assemble(("warning", "yellow"), f"  {warning}"))
    if written is not None:
        _print_written(split, written)
    return exit_codes.OK


def warnings_of(split: FileSplit, eval_fraction: float) -> Iterator[str]:
    """Why the held-out conversations may not be worth much."""
    if split.held_out_units >= FEWEST_THAT_PROVE:
        return
    if split.held_out_units:
        repeats = ", repeats counted once" if _has_repeats(split) else ""
        yield (
            f"{many(split.held_out_units, 'conversation')} held out{repeats}: too few to prove "
            f"anything, {FEWEST_THAT_PROVE} are the least. Add conversations, or hold out a larger "
            "fraction."
        )
    elif eval_fraction == 0:
        yield "nothing is held out: no held-out loss will tell whether the training helps."
    else:
        yield "nothing can be held out: all conversations are one, or repeats of one."


def _has_repeats(split: FileSplit) -> bool:
    return split.total.held_out_conversations > split.held_out_units


# --- for people -------------------------------------------------------------------------------


def _print(split: FileSplit, chosen: Hyperparameters) -> None:
    total = split.total
    say_line(
        f"{clean_line(str(split.file.path))}: "
        f"{many(total.train_conversations, 'conversation')} trained, "
        f"{total.held_out_conversations:,} held out "
        f"(eval_fraction {chosen.eval_fraction:g}, seed {chosen.seed})."
    )
    if 0 < chosen.eval_fraction * split.units < split.held_out_units - 0.5:
        say_line(
            "A small file holds out more than the fraction: up to "
            f"{100 * float(LARGEST_LIFT):.0f} %, to come to {WANTED_HELD_OUT}."
        )
    say_line("")
    rows = [
        [stratum.persona or NO_NAME, stratum.emotional_arc or NO_NAME, *_figures(share)]
        for stratum, share in split.strata.items()
    ]
    headers = ["PERSONA", "EMOTIONAL ARC", "TRAINED", "TARGETS", "HELD OUT", "HELD-OUT TARGETS"]
    if len(rows) > 1:
        rows.append(["all", "", *_figures(total)])
    print_table(headers, rows, shrinking="EMOTIONAL ARC")
    if split.kept_together:
        say_line("")
        say_line(Text("kept on one side", style="bold"))
    for together in split.kept_together[:_MOST_CLUSTERS]:
        say_line(f"  {_in_words(together)}")
    if (left := len(split.kept_together) - _MOST_CLUSTERS) > 0:
        say_line(f"  … and {left:,} more: --json lists all")


def _figures(share: Share) -> list[str]:
    return [
        f"{share.train_conversations:,}",
        f"{share.train_targets:,}",
        f"{share.held_out_conversations:,}",
        f"{share.held_out_targets:,}",
    ]


def _in_words(together: KeptTogether) -> str:
    ids = together.conversation_ids
    shown = ", ".join(clean_line(its) for its in ids[:_MOST_IDS])
    more = f" and {len(ids) - _MOST_IDS:,} more" if len(ids) > _MOST_IDS else ""
    return f"{'held out' if together.is_held_out else 'trained '}  {together.why}: {shown}{more}"


def _print_written(split: FileSplit, written: WrittenSplit) -> None:
    say_line("")
    for path, count in (
        (written.train, split.total.train_conversations),
        (written.held_out, split.total.held_out_conversations),
    ):
        say_line(f"{clean_line(str(path))}: {many(count, 'conversation')}.")
    print_notes(list(written.notes))


# --- as JSON ----------------------------------------------------------------------------------


def _plain(split: FileSplit, chosen: Hyperparameters, written: WrittenSplit | None) -> Any:
    return {
        "file": str(split.file.path),
        "eval_fraction": chosen.eval_fraction,
        "seed": chosen.seed,
        **asdict(split.total),
        "held_out_ids": sorted(split.held_out_ids),
        "strata": [{**asdict(name), **asdict(share)} for name, share in split.strata.items()],
        "kept_together": [asdict(together) for together in split.kept_together],
        "warnings": list(warnings_of(split, chosen.eval_fraction)),
        "written": written
        and {
            "train": str(written.train),
            "held_out": str(written.held_out),
            "format": written.form.value,
            "notes": list(written.notes),
        },
    }
