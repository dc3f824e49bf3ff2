"""What can be typed behind `brightrun webhook`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.command_options import AsJson, Job, finish

webhook_app = typer.Typer(
    help="Tells a web application how jobs go, signed with TRAINING_WEBHOOK_SECRET: see "
    "`start --webhook`. Tries a receiver, checks a captured message, lists what was told."
)


@webhook_app.command("test")
def webhook_test(
    url: Annotated[
        str | None,
        typer.Option(help="Else where the job's go, or BRIGHTRUN_WEBHOOK_URL.", show_default=False),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(metavar="JOB", help="Tell how this job stands; else a job that is none."),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also a private network's address, or http.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send one signed message, once, and show what was sent and what came back."""
    from tui.commands.webhook_test import send_test

    finish(send_test(url, job, allow_private=allow_private, as_json=as_json))


@webhook_app.command("verify")
def webhook_verify(
    body: Annotated[
        Path, typer.Option(metavar="FILE", help="The message's body, byte for byte as it came.")
    ],
    headers: Annotated[
        Path, typer.Option(metavar="FILE", help="Its headers: lines of NAME: VALUE, or JSON.")
    ],
    any_age: Annotated[
        bool, typer.Option("--any-age", help="Take also one that is older than 300 s.")
    ] = False,
    accept_legacy: Annotated[
        bool,
        typer.Option(
            "--accept-legacy",
            help="Take also X-Webhook-Signature alone, which says nothing of when it was sent.",
        ),
    ] = False,
) -> None:
    """Check a captured message, by TRAINING_WEBHOOK_SECRET and ..._PREVIOUS, and say why not."""
    from tui.commands.webhook_verify import verify_captured

    finish(verify_captured(body, headers, any_age=any_age, accept_legacy=accept_legacy))


@webhook_app.command("list")
def webhook_list(job: Job, as_json: AsJson = False) -> None:
    """List what was told of a job, what waits, and why."""
    from tui.commands.webhook_list import list_webhooks

    finish(list_webhooks(job, as_json=as_json))
