"""What can be typed behind `brightrun dataset`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tui.command_options import AsJson, CutTargets, Model, Out, OverLong, finish
from tui.remote_dataset_command_line import remote_app

dataset_app = typer.Typer(
    help="Checks, shows, repairs, converts, merges and splits training files.",
    no_args_is_help=True,
)
dataset_app.add_typer(remote_app, name="remote")


@dataset_app.command("check")
def dataset_check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Training files.")],
    held_out: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A held-out file; give it again for more."),
    ] = None,
    model: Model = "tiny",
    max_seq_length: Annotated[int, typer.Option(min=64, help="Longest conversation.")] = 4096,
    cut_targets: CutTargets = "exclude",
    over_long: OverLong = "refuse",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on warnings.")] = False,
    findings: Annotated[
        int, typer.Option(min=0, metavar="N", help="At most so many of each kind; 0: all.")
    ] = 10,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write all of it to one page of HTML.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in training files, and what is wrong with them. Exit 2 on errors."""
    from tui.commands.dataset_check import CheckOptions, check_files
    from tui.services.dataset_check import CheckSettings

    options = CheckOptions(
        files=tuple(files),
        held_out=tuple(held_out or ()),
        settings=CheckSettings(model, max_seq_length, cut_targets, over_long),
        strict=strict,
        as_json=as_json,
        report_path=report,
        most_findings=findings or None,
    )
    raise typer.Exit(check_files(options))


@dataset_app.command("preview")
def dataset_preview(
    file: Annotated[Path, typer.Argument(help="The training file.")],
    conversation: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONVERSATION]",
            help="Its number (3 or #3) or id, or the beginning of the id; else the first.",
        ),
    ] = None,
    line: Annotated[
        int | None, typer.Option(min=1, help="The conversation on this line of a JSONL file.")
    ] = None,
    model: Model = "tiny",
    max_seq_length: Annotated[int, typer.Option(min=64, help="What is beyond it is cut.")] = 4096,
    cut_targets: CutTargets = "exclude",
    ids: Annotated[bool, typer.Option("--ids", help="Each token's id behind it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a conversation as the model will see it, token by token."""
    from tui.commands.dataset_preview import PreviewOptions, preview_conversation
    from tui.services.conversation_finder import Wanted

    if conversation is not None and line is not None:
        raise typer.BadParameter("give a conversation or --line, not both")
    wanted = Wanted(line=line) if conversation is None else Wanted.typed(conversation)
    raise typer.Exit(
        preview_conversation(
            PreviewOptions(file, wanted, model, max_seq_length, cut_targets, ids, as_json)
        )
    )


@dataset_app.command("list")
def dataset_list(as_json: AsJson = False) -> None:
    """List the training files that were checked here, last checked first."""
    from tui.commands.dataset_list import list_datasets

    finish(list_datasets(as_json=as_json))


@dataset_app.command("forget")
def dataset_forget(
    sha256: Annotated[
        str, typer.Argument(metavar="HASH", help="A file's hash, or the beginning of one.")
    ],
) -> None:
    """Leave a file out of the list; the file itself stays. Refused while a job needs it."""
    from tui.commands.dataset_list import forget_dataset

    finish(forget_dataset(sha256))


@dataset_app.command("convert")
def dataset_convert(
    file: Annotated[Path, typer.Argument(help="The training file.")],
    to: Annotated[
        Literal["openai", "llama3", "brightrun-json", "brightrun-jsonl"],
        typer.Option(help="llama3 is the text that the model sees, for reading."),
    ],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Write a training file in another form."""
    from tui.commands.dataset_convert import convert_file

    raise typer.Exit(convert_file(file, to, out, as_json=as_json))


@dataset_app.command("fix")
def dataset_fix(
    file: Annotated[Path, typer.Argument(help="The training file; it stays as it is.")],
    out: Out,
    exclude_cut: Annotated[
        bool,
        typer.Option("--exclude-cut", help="Also take out answers that end in mid-sentence."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    r"""Repair what can be repaired safely: literal \n, counts, encoding, text behind the JSON."""
    from tui.commands.dataset_fix import fix_file

    raise typer.Exit(fix_file(file, out, exclude_cut=exclude_cut, as_json=as_json))


@dataset_app.command("merge")
def dataset_merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Training files.")],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Make one file (.jsonl or .json) of several, each conversation once."""
    from tui.commands.dataset_merge import merge_files

    raise typer.Exit(merge_files(files, out, as_json=as_json))


@dataset_app.command("split")
def dataset_split(
    file: Annotated[Path, typer.Argument(help="The training file; it stays as it is.")],
    eval_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the conversations to hold out; else a job's own, 0.1."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Else a job's own, 42.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Write NAME-train and NAME-held-out there."
        ),
    ] = None,
    format_: Annotated[
        Literal["brightrun-json", "brightrun-jsonl", "openai"] | None,
        typer.Option("--format", help="Of the files; else the one nearest to the source's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which conversations a job trains and which it holds out, and write both sides."""
    from tui.commands.dataset_split import SplitOptions, show_split

    if format_ is not None and out is None:
        raise typer.BadParameter("--format needs --out")
    raise typer.Exit(show_split(SplitOptions(file, eval_fraction, seed, out, format_, as_json)))
