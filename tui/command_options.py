"""Options that several commands share, and how a command ends."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from tui import exit_codes
from tui.commands.completion import complete_job_id

Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A job's id, or the beginning of one.",
        autocompletion=complete_job_id,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Data as JSON on stdout; messages on stderr.")]
Model = Annotated[
    str, typer.Option(help="Base model: tiny, smollm2, a directory, or a model id of the hub.")
]
CutTargets = Annotated[
    Literal["exclude", "train"], typer.Option(help="Answers that end in mid-sentence.")
]
OverLong = Annotated[Literal["refuse", "exclude"], typer.Option(help="Longer than max_seq_length.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A hyperparameter or a job option: --set learning_rate=1e-4 --set num_gpus=2. "
        "A wrong name lists all of them.",
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="USD",
        min=0.01,
        help="For a rented machine: cap on the cost; else as before.",
        show_default=False,
    ),
]
OverLimit = Annotated[
    str,
    typer.Option(
        "--over-limit",
        metavar="REASON",
        help="Rent also beyond the monthly limit, for this reason, which is recorded.",
        show_default=False,
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Agree unasked to what is paid for, or ended."),
]
Out = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="OUT", help="A new file; nothing is ever overwritten."),
]


class ListsByDefault(TyperGroup):
    """`brightrun machines ssh:gpu --json` means `brightrun machines list ssh:gpu --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def finish(command: Coroutine[Any, Any, int], interrupted: str = "interrupted.") -> None:
    """Run a command to its exit code; Ctrl-C says `interrupted` and returns 130."""
    import asyncio

    try:
        code = asyncio.run(command)
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        code = exit_codes.INTERRUPTED
    raise typer.Exit(code)
