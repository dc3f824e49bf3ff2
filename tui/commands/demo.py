"""`brightrun demo --headless`: the demo job, watched as any other."""

from __future__ import annotations

from tui.commands.output import say_line
from tui.commands.watch import watch_in
from tui.demo import DemoOptions
from tui.services.demo import start_demo
from tui.services.session import open_session


async def run_demo(options: DemoOptions) -> int:
    """Start it and watch it to its end."""
    async with open_session() as session:
        job = await start_demo(session, options)
        say_line(f"{job.job_id} started.")
        return await watch_in(session, job.job_id, as_json=False)
