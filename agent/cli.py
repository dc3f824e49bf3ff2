"""`brightrun-agent`: serve a root, or run one job headless.

Exit codes of `run`: 0 completed, 1 failed, 3 cancelled, 2 the job file or its data must be mended
first, 5 another agent owns the root.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import BrightRunError, InvalidJobSpec

if TYPE_CHECKING:
    from agent.attempt import SupervisionSettings
    from agent.run_directory import AgentRoot, Nodes

app = typer.Typer(
    name="brightrun-agent",
    help="Trains LoRA adapters on this machine: the part of Bright Run that runs in the pod.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        envvar="BRIGHTRUN_AGENT_ROOT",
        help="Directory of jobs, datasets and models.",
        show_default="the user's data directory",
    ),
]
TrainerCommandOption = Annotated[
    str | None,
    typer.Option("--trainer-command", hidden=True, help="For tests: run this as the trainer."),
]
HangFloorOption = Annotated[
    float,
    typer.Option(
        "--hang-floor",
        envvar="BRIGHTRUN_AGENT_HANG_FLOOR",
        min=0,
        metavar="SECONDS",
        help="A trainer that is silent for 10 usual steps, and for so long at least, hangs and is "
        "started again; 0 never.",
    ),
]
DEFAULT_HANG_FLOOR_S = 120.0


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"brightrun-agent {version('brightrun')}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options that stand before any command."""


@app.command()
def serve(
    root: RootOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start in the background and print the address.")
    ] = False,
    hang_floor: HangFloorOption = DEFAULT_HANG_FLOOR_S,
    trainer_command: TrainerCommandOption = None,
) -> None:
    """Serve jobs on a Unix socket until SIGTERM; trainers outlive the agent."""
    agent_root = _root(root)
    if detach:
        from agent.detach import ensure_agent

        extra = [] if trainer_command is None else ["--trainer-command", trainer_command]
        extra += ["--hang-floor", str(hang_floor)]
        typer.echo(ensure_agent(agent_root, ["--root", str(agent_root.path), *extra]))
        return
    import asyncio
    import logging

    from agent.serve import serve as serve_root

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # It would write down every address, and those of webhooks may carry a secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(serve_root(agent_root, _settings(trainer_command, hang_floor)))


@app.command()
def stop(root: RootOption = None) -> None:
    """Stop the agent of a root; its trainers go on, and the next agent takes them up."""
    from agent.detach import stop_agent

    agent_root = _root(root)
    ended = stop_agent(agent_root)
    typer.echo("stopped." if ended else f"no agent runs in {agent_root.path}.")


@app.command()
def run(
    job_file: Annotated[Path, typer.Argument(metavar="JOB.toml", help="The job to run.")],
    root: RootOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the journal's records, one JSON object a line.")
    ] = False,
    nnodes: Annotated[
        int, typer.Option("--nnodes", min=1, help="Machines that train this job together.")
    ] = 1,
    node_rank: Annotated[
        int, typer.Option("--node-rank", min=0, help="This machine's number; 0 keeps the adapter.")
    ] = 0,
    rdzv_endpoint: Annotated[
        str | None,
        typer.Option(
            "--rdzv-endpoint",
            metavar="HOST:PORT",
            help="Where the machine of rank 0 is reached; a free port of it.",
        ),
    ] = None,
    hang_floor: HangFloorOption = DEFAULT_HANG_FLOOR_S,
    trainer_command: TrainerCommandOption = None,
) -> None:
    """Run one job to its end, with no console; a job that was cut off goes on.

    Give the job file a `job_id` to go on with the same job when the command is repeated. With
    --nnodes the same command runs on each machine; each has `num_gpus` replicas.
    """
    import asyncio

    from agent.headless import run_job
    from shared.job_spec import load_job_file

    spec, dataset = load_job_file(job_file)
    settings = replace(
        _settings(trainer_command, hang_floor), nodes=_nodes(nnodes, node_rank, rdzv_endpoint)
    )
    running = run_job(_root(root), spec, dataset, settings, as_json=as_json)
    raise typer.Exit(asyncio.run(running))


def main() -> None:
    """The console script: expected errors become one line and an exit code."""
    try:
        app()
    except BrightRunError as error:
        print(f"brightrun-agent: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _root(path: Path | None) -> AgentRoot:
    from agent.run_directory import AgentRoot

    if path is None:
        import platformdirs

        path = platformdirs.user_data_path("brightrun") / "agent"
    return AgentRoot(path.absolute())


def _nodes(count: int, rank: int, rdzv_endpoint: str | None) -> Nodes | None:
    """Raises InvalidJobSpec where the three options do not name one machine of several."""
    from pydantic import ValidationError

    from agent.run_directory import Nodes

    if count == 1 and rank == 0 and rdzv_endpoint is None:
        return None
    try:
        return Nodes(count=count, rank=rank, rdzv_endpoint=rdzv_endpoint or "")
    except ValidationError as error:
        raise InvalidJobSpec(
            f"--nnodes {count} --node-rank {rank} --rdzv-endpoint {rdzv_endpoint or 'missing'}: "
            "give two machines or more, a rank from 0 to one less than that, and HOST:PORT of the "
            "machine of rank 0."
        ) from error


def _settings(trainer_command: str | None, hang_floor_s: float) -> SupervisionSettings:
    from agent.attempt import SupervisionSettings
    from agent.watchdog import HangLimits

    return SupervisionSettings(
        trainer_command=None if trainer_command is None else shlex.split(trainer_command),
        hang_limits=HangLimits(floor_s=hang_floor_s),
    )


if __name__ == "__main__":
    main()
