"""What can be typed behind `brightrun start`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from tui.command_options import (
    AsJson,
    CutTargets,
    Model,
    OverLimit,
    OverLong,
    Settings,
    Yes,
    finish,
)

_RENTED = "With --host runpod: "


class CloudName(StrEnum):
    """As `shared.machine_request.Cloud`, which loads pydantic."""

    SECURE = "secure"
    COMMUNITY = "community"


_FIELDS = {
    "model": ("base_model",),
    "revision": ("base_model_revision",),
    "tag": ("tags",),
    "budget": ("budget_usd",),
    "gpu": ("gpu_types",),
    "gpu_count": ("gpu_count", "num_gpus"),
    "cloud": ("clouds",),
    "data_center": ("data_centers",),
    "max_hours": ("max_duration_hours",),
    "disk": ("container_disk_gb",),
    "wait_hours": ("wait_for_stock_hours",),
}
"""Option -> the fields of a template that it comes before; others have the field's name."""


def _typed_fields(context: typer.Context) -> frozenset[str]:
    """The fields of a template that somebody typed another value for."""
    typed = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    return frozenset(field for name in typed for field in _FIELDS.get(name, (name,)))


def start(
    context: typer.Context,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(
            help="The training file; given again, files are merged into one set.",
            show_default=False,
        ),
    ] = None,
    training_file_id: Annotated[
        str | None,
        typer.Option(
            metavar="UUID",
            help="Instead: a training file of the web application, see `dataset remote`.",
            show_default=False,
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Begin with a template, see `template`; what is typed comes before it.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        Literal["conservative", "balanced", "aggressive"], typer.Option(help="Starting point.")
    ] = "balanced",
    set_: Settings = None,
    model: Model = "tiny",
    revision: Annotated[str | None, typer.Option(help="Revision of a model of the hub.")] = None,
    name: Annotated[str | None, typer.Option(help="3 to 100 characters; else the file's.")] = None,
    notes: Annotated[str, typer.Option(help="Free text, kept with the job.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; give it again for more.")] = None,
    job_id: Annotated[
        str | None,
        typer.Option(help="Your own id: starting the same job again then changes nothing."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Where it runs: local, ssh:NAME of ~/.ssh/config, ssh:user@host:port, or runpod "
            "for a machine that is rented for it. Else RUNPOD_ENDPOINT_URL, where it is set, or "
            "local.",
            show_default=False,
        ),
    ] = None,
    accept_host_key: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256:...", help="Trust an unknown host whose key has this fingerprint."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Up to the first step, on ten examples; no adapter.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Watch it once it is started.")] = False,
    queue: Annotated[
        bool,
        typer.Option(
            "--queue", help="Only write it down: it starts when its turn comes, see `queue`."
        ),
    ] = False,
    cut_targets: CutTargets = "exclude",
    over_long: OverLong = "refuse",
    ignore_memory: Annotated[
        bool,
        typer.Option("--ignore-memory", help="Start also what will not fit, by the prediction."),
    ] = False,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            help=_RENTED + "GPU type, such as H100_PCIE; given again, they are tried in this "
            "order. Else those that are large enough, the cheapest first.",
            show_default=False,
        ),
    ] = None,
    gpu_count: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=8,
            help=_RENTED + "GPUs of the machine, and replicas of the job.",
            show_default=False,
        ),
    ] = None,
    cloud: Annotated[
        list[CloudName] | None,
        typer.Option(
            help=_RENTED + "secure (the default), community, or both.", show_default=False
        ),
    ] = None,
    data_center: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help=_RENTED + "only there, such as US-KS-2; give it again for more.",
            show_default=False,
        ),
    ] = None,
    volume: Annotated[
        str | None,
        typer.Option(
            metavar="ID|NAME|new[:GB]",
            help=_RENTED + "network volume, on which a job outlives its machine.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            min=0.01,
            help=_RENTED + "cap on the cost, required.",
            show_default=False,
        ),
    ] = None,
    max_hours: Annotated[
        float, typer.Option(min=0.1, max=720, help=_RENTED + "longest duration.")
    ] = 24.0,
    instance_type: Annotated[
        Literal["on_demand", "spot"], typer.Option(help=_RENTED + "RunPod sells no spot any more.")
    ] = "on_demand",
    image: Annotated[
        str | None,
        typer.Option(help=_RENTED + "another image with sshd and Python.", show_default=False),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help=_RENTED + "RunPod's credentials for a private image, by their id there.",
            show_default=False,
        ),
    ] = None,
    start_script: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help=_RENTED + "what runs sshd in the image; else /start.sh.",
            show_default=False,
        ),
    ] = None,
    mount_path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help=_RENTED + "where the volume is mounted; else /workspace.",
            show_default=False,
        ),
    ] = None,
    disk: Annotated[
        int | None,
        typer.Option(
            metavar="GB",
            min=10,
            max=2000,
            help=_RENTED + "the machine's own disk.",
            show_default=False,
        ),
    ] = None,
    max_interruptions: Annotated[
        int, typer.Option(min=0, max=20, help=_RENTED + "lost machines that are replaced unasked.")
    ] = 3,
    after_interruptions: Annotated[
        Literal["ask", "next_gpu", "stop"], typer.Option(help=_RENTED + "and after those.")
    ] = "ask",
    wait_hours: Annotated[
        float, typer.Option(min=0, max=168, help=_RENTED + "how long it waits for stock.")
    ] = 1.0,
    over_limit: OverLimit = "",
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Who is told of the job, signed with TRAINING_WEBHOOK_SECRET; else "
            "BRIGHTRUN_WEBHOOK_URL, where it is set.",
            show_default=False,
        ),
    ] = None,
    webhook_every: Annotated[
        int | None,
        typer.Option(
            metavar="STEPS",
            min=1,
            help="Steps between two reports of figures; else 50, fewer in a short run.",
            show_default=False,
        ),
    ] = None,
    webhook_allow_private: Annotated[
        bool,
        typer.Option(
            "--webhook-allow-private", help="Tell also an address of a private network, or http."
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check a training file and start a job on it, here or elsewhere, or on a rented machine."""
    if bool(dataset) is (training_file_id is not None):
        raise typer.BadParameter("give one of --dataset and --training-file-id")
    from shared.machine_request import (
        DEFAULT_IMAGE,
        DEFAULT_MOUNT_PATH,
        DEFAULT_START_SCRIPT,
        AfterInterruptions,
        Cloud,
    )
    from tui.commands.rent import RentOptions
    from tui.commands.start import StartOptions, WebhookOptions, start_job
    from tui.services.rent_plan import RentWanted

    wanted = RentWanted(
        budget_usd=budget,
        gpu_types=tuple(gpu or ()),
        gpu_count=gpu_count,
        clouds=tuple(dict.fromkeys(Cloud(each.value) for each in cloud or [CloudName.SECURE])),
        data_centers=tuple(data_center or ()),
        volume=volume,
        instance_type=instance_type,
        max_duration_hours=max_hours,
        image=image or DEFAULT_IMAGE,
        registry=registry,
        start_script=start_script or DEFAULT_START_SCRIPT,
        mount_path=mount_path or DEFAULT_MOUNT_PATH,
        container_disk_gb=disk,
        max_interruptions=max_interruptions,
        after_interruptions=AfterInterruptions(after_interruptions),
        wait_for_stock_hours=wait_hours,
        ignore_memory=ignore_memory,
    )
    options = StartOptions(
        datasets=tuple(dataset or ()),
        training_file_id=training_file_id,
        settings=tuple(set_ or ()),
        watch=watch,
        queue=queue,
        host=host,
        accept_host_key=accept_host_key,
        as_json=as_json,
        ignore_memory=ignore_memory,
        rent=RentOptions(wanted, yes, over_limit),
        webhook=WebhookOptions(webhook, webhook_every, webhook_allow_private),
        template=template,
        typed=_typed_fields(context),
        values={
            "preset": preset,
            "base_model": model,
            "base_model_revision": revision,
            "name": name,
            "notes": notes,
            "tags": tuple(tag or ()),
            "job_id": job_id,
            "dry_run": dry_run,
            "cut_targets": cut_targets,
            "over_long": over_long,
            "num_gpus": gpu_count,
        },
    )
    finish(start_job(options), "interrupted; `brightrun jobs` shows whether the job was started.")
