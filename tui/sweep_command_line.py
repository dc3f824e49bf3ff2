"""What can be typed behind `brightrun sweep`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from tui.command_options import AsJson, CutTargets, Model, OverLong, Settings, Yes, finish
from tui.start_command_line import CloudName

_RENTED = "With --host runpod: "
_AS_START = "as for `start`."


class _StartsByDefault(TyperGroup):
    """`brightrun sweep --dataset FILE` means `sweep start --dataset FILE`; alone, `sweep list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:
            args = ["list"]
        elif args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["start", *args]
        return super().parse_args(ctx, args)


sweep_app = typer.Typer(
    cls=_StartsByDefault,
    help="Trains with listed values of any settings, and compares the jobs. Without a command: "
    "start, or list where nothing else is typed.",
)

SweepName = Annotated[
    str, typer.Argument(metavar="SWEEP", help="A sweep's id, the beginning of one, or its name.")
]


@sweep_app.command("start")
def sweep_start(
    dataset: Annotated[Path, typer.Option(help="The training file.")],
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUE,VALUE",
            help="A hyperparameter or a job option, and the values that are tried; given again, "
            "all combinations are. Lists, as of target_modules, are separated by `;`.",
        ),
    ],
    set_: Settings = None,
    preset: Annotated[
        Literal["conservative", "balanced", "aggressive"], typer.Option(help="Starting point.")
    ] = "balanced",
    model: Model = "tiny",
    revision: Annotated[str | None, typer.Option(help="Revision of a model of the hub.")] = None,
    name: Annotated[
        str | None, typer.Option(help="All its jobs begin with it; else the file's.")
    ] = None,
    notes: Annotated[str, typer.Option(help="Free text, kept with each job.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; give it again for more.")] = None,
    sweep_id: Annotated[
        str | None,
        typer.Option(help="Your own id: starting the same sweep again then changes nothing."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Where the jobs run, as for `start`: one after the other on a machine of yours, "
            "or at once on rented ones.",
            show_default=False,
        ),
    ] = None,
    accept_host_key: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256:...", help="Trust an unknown host whose key has this fingerprint."
        ),
    ] = None,
    queue_only: Annotated[
        bool,
        typer.Option("--queue-only", help="Write the jobs down and leave, without following them."),
    ] = False,
    cut_targets: CutTargets = "exclude",
    over_long: OverLong = "refuse",
    ignore_memory: Annotated[
        bool,
        typer.Option("--ignore-memory", help="Start also what will not fit, by the prediction."),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            min=0.01,
            help=_RENTED + "cap on the cost of all jobs together, required.",
            show_default=False,
        ),
    ] = None,
    over_limit: Annotated[
        str,
        typer.Option(
            metavar="REASON",
            help=_RENTED + "why it may go beyond the monthly limit; recorded.",
            show_default=False,
        ),
    ] = "",
    gpu: Annotated[
        list[str] | None, typer.Option(help=_RENTED + _AS_START, show_default=False)
    ] = None,
    gpu_count: Annotated[
        int | None,
        typer.Option(min=1, max=8, help=_RENTED + "of each machine.", show_default=False),
    ] = None,
    cloud: Annotated[
        list[CloudName] | None, typer.Option(help=_RENTED + _AS_START, show_default=False)
    ] = None,
    data_center: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help=_RENTED + _AS_START, show_default=False),
    ] = None,
    volume: Annotated[
        str | None,
        typer.Option(
            metavar="ID|NAME|new[:GB]",
            help=_RENTED + "one network volume for all jobs.",
            show_default=False,
        ),
    ] = None,
    max_hours: Annotated[
        float, typer.Option(min=0.1, max=720, help=_RENTED + "longest duration of each job.")
    ] = 24.0,
    image: Annotated[str | None, typer.Option(help=_RENTED + _AS_START, show_default=False)] = None,
    disk: Annotated[
        int | None,
        typer.Option(metavar="GB", min=10, max=2000, help=_RENTED + _AS_START, show_default=False),
    ] = None,
    max_interruptions: Annotated[
        int, typer.Option(min=0, max=20, help=_RENTED + "of each job.")
    ] = 3,
    after_interruptions: Annotated[
        Literal["ask", "next_gpu", "stop"], typer.Option(help=_RENTED + "and after those.")
    ] = "ask",
    wait_hours: Annotated[
        float, typer.Option(min=0, max=168, help=_RENTED + "how long each waits for stock.")
    ] = 1.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Start one job for each combination of the listed values; at most 64."""
    from shared.machine_request import DEFAULT_IMAGE, AfterInterruptions, Cloud
    from tui.commands.rent import RentOptions
    from tui.commands.start import StartOptions
    from tui.commands.sweep import SweepOptions, start_sweep
    from tui.services.rent_plan import RentWanted

    wanted = RentWanted(
        budget_usd=budget,
        gpu_types=tuple(gpu or ()),
        gpu_count=gpu_count,
        clouds=tuple(dict.fromkeys(Cloud(each.value) for each in cloud or [CloudName.SECURE])),
        data_centers=tuple(data_center or ()),
        volume=volume,
        max_duration_hours=max_hours,
        image=image or DEFAULT_IMAGE,
        container_disk_gb=disk,
        max_interruptions=max_interruptions,
        after_interruptions=AfterInterruptions(after_interruptions),
        wait_for_stock_hours=wait_hours,
        ignore_memory=ignore_memory,
    )
    start = StartOptions(
        datasets=(dataset,),
        settings=tuple(set_ or ()),
        host=host,
        accept_host_key=accept_host_key,
        as_json=as_json,
        ignore_memory=ignore_memory,
        rent=RentOptions(wanted, yes, over_limit),
        values={
            "preset": preset,
            "base_model": model,
            "base_model_revision": revision,
            "notes": notes,
            "tags": tuple(tag or ()),
            "cut_targets": cut_targets,
            "over_long": over_long,
            "num_gpus": gpu_count,
        },
    )
    options = SweepOptions(start, tuple(vary), name, sweep_id, queue_only)
    finish(start_sweep(options), "stopped following the sweep; its jobs go on.")


@sweep_app.command("show")
def sweep_show(
    sweep: SweepName,
    curves: Annotated[
        bool, typer.Option("--curves", help="Draw the curves over each other as well.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the table to a new file as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the jobs of a sweep, the best held-out loss first."""
    from tui.commands.sweep_show import ShowOptions, show_sweep

    finish(show_sweep(sweep, ShowOptions(curves, csv, as_json)))


@sweep_app.command("list")
def sweep_list(as_json: AsJson = False) -> None:
    """List the sweeps, newest first."""
    from tui.commands.sweep_show import list_sweeps

    finish(list_sweeps(as_json=as_json))


@sweep_app.command("cancel")
def sweep_cancel(
    sweep: SweepName, reason: Annotated[str, typer.Option(help="Kept with each job.")] = ""
) -> None:
    """Stop all jobs of a sweep that have not ended; those that wait end at once."""
    from tui.commands.sweep_show import cancel_all

    finish(cancel_all(sweep, reason))
