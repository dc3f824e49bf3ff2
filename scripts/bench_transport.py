"""Times the way from a trainer's write to the console's store, over SSH and beside it locally.

    python scripts/bench_transport.py [PART ...] [--quick]

- latency: from a trainer's write of a step to the end of the transaction that stores it.
- live: a trainer that writes as fast as it can: events a second until they are stored.
- replay: the journal of a job that has ended, from its beginning into an empty store; beside it
  what decoding and storing alone take, so that one sees where the time goes.
- reconnect: from the cut of the SSH connection to the next event in the store.
- idle: memory and CPU of an agent with nothing to do, and with one slow job.
- training: what agent and watcher cost the real trainer; needs the trainer extra.

The machine is this one, behind an OpenSSH server of the benchmark's own; agent and trainers end
with it, and all but `training` run the tests' stand-in. Ratios within one run are what counts: on a
shared machine times drift. Goals are for information.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from statistics import median, quantiles

from scripts.bench_box import CUT, LOCAL, SSH, BenchBox, bench_box, running_agent
from scripts.bench_replay import measure_replay
from scripts.bench_table import Row, print_table
from shared.events import LogLine, Metrics, utc_now
from shared.store.stored import Applied
from tests.remote.proxy import ChaosProxy
from tui.services.session import Session

STEADY = "steps=100000 delay=0.05"
"""Almost 20 steps a second, and a checkpoint at every other one."""
SLOW = "steps=100000 delay=1"
DEADLINE_S = 60.0
ROUNDS = 2
"""Each way in turns, so that a slow minute of the machine is everybody's."""


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    seconds: float = 20.0
    live_events: int = 50_000
    journal_steps: int = 100_000
    cuts: int = 20
    trainings: int = 3


QUICK = Amounts(seconds=4.0, live_events=5_000, journal_steps=10_000, cuts=4, trainings=1)


def main() -> None:
    """Measure what is asked for, all by default, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parts: dict[str, Callable[[Amounts], list[Row]]] = {
        "latency": lambda amounts: asyncio.run(measure_latency(amounts)),
        "live": lambda amounts: asyncio.run(measure_live(amounts)),
        "replay": lambda amounts: asyncio.run(measure_replay(amounts.journal_steps)),
        "reconnect": lambda amounts: asyncio.run(measure_reconnect(amounts)),
        "idle": lambda amounts: asyncio.run(measure_idle(amounts)),
        "training": measure_training,
    }
    parser.add_argument("part", nargs="*", help=f"{', '.join(parts)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="little of everything: does it work")
    options = parser.parse_args()
    if unknown := set(options.part) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    # A time limit from outside must not leave a server, an agent and its trainers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    amounts = QUICK if options.quick else Amounts()
    rows = [row for part in options.part or parts for row in parts[part](amounts)]
    print_table(rows, f"asyncssh {version('asyncssh')}")


# --- latency ----------------------------------------------------------------------------------


async def measure_latency(amounts: Amounts) -> list[Row]:
    """One job, watched over each way in turns."""
    late: dict[str, list[float]] = {SSH: [], LOCAL: []}
    with bench_box() as box, running_agent(box):
        async with box.session(SSH) as far, box.session(LOCAL) as near:
            spec = box.spec("job-steady", STEADY)
            await box.start(far, SSH, spec)
            await near.store.add_job(spec, LOCAL)
            for _ in range(ROUNDS):
                for host, session in ((SSH, far), (LOCAL, near)):
                    late[host] += await ages_ms(session, amounts.seconds / ROUNDS)
    return [
        Row("write to store over SSH, p50", median(late[SSH]), "ms", median(late[LOCAL]), "local"),
        Row("write to store over SSH, p99", p99(late[SSH]), "ms", p99(late[LOCAL]), "local"),
    ]


async def ages_ms(session: Session, seconds: float) -> list[float]:
    """How old the records of new steps are once they are stored."""
    began, ages = utc_now(), []
    async with aclosing(session.mirror.watch("job-steady")) as sights:
        async for sight in sights:
            now = utc_now()
            if isinstance(sight, Applied):
                times = [item.time for item in sight.records if isinstance(item.event, Metrics)]
                ages += [(now - time).total_seconds() * 1000 for time in times if time > began]
            if (now - began).total_seconds() > seconds:
                break
    return ages


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return quantiles(values, n=100)[-1]


# --- live -------------------------------------------------------------------------------------


async def measure_live(amounts: Amounts) -> list[Row]:
    """A job for each way and round, one after the other."""
    written: list[float] = []
    stored: dict[str, list[float]] = {SSH: [], LOCAL: []}
    with bench_box() as box, running_agent(box):
        async with box.session(SSH) as far, box.session(LOCAL) as near:
            for turn in range(ROUNDS):
                for host, session in ((SSH, far), (LOCAL, near)):
                    job_id = f"job-{turn}-{host.replace(':', '-')}"
                    spec = box.spec(job_id, f"steps=1 chatter={amounts.live_events}")
                    await box.start(session, host, spec)
                    rates = await live_rates(session, job_id)
                    written.append(rates[0])
                    stored[host].append(rates[1])
    far_rate, near_rate = median(stored[SSH]), median(stored[LOCAL])
    return [
        Row("live events stored over SSH", far_rate, "/s", near_rate, "local"),
        Row("live events stored over SSH", far_rate, "/s", median(written), "written by trainer"),
    ]


async def live_rates(session: Session, job_id: str) -> tuple[float, float]:
    """Events a second: written by the trainer, and until the last of them was stored."""
    times = []
    async with aclosing(session.mirror.watch(job_id)) as sights:
        async for sight in sights:
            if isinstance(sight, Applied):
                lines = [item.time for item in sight.records if isinstance(item.event, LogLine)]
                if lines:
                    times += lines
                    stored_at = utc_now()
    written_s = (times[-1] - times[0]).total_seconds()
    return len(times) / written_s, len(times) / (stored_at - times[0]).total_seconds()


# --- reconnect --------------------------------------------------------------------------------


async def measure_reconnect(amounts: Amounts) -> list[Row]:
    """Both ends of the connection see a reset, as when a router forgets it."""
    with bench_box() as box, running_agent(box):
        async with ChaosProxy(box.server.port) as proxy:
            box.route(CUT.removeprefix("ssh:"), proxy.port)
            async with box.session(CUT) as session:
                await box.start(session, CUT, box.spec("job-steady", STEADY))
                gaps_ms = await gaps(session, amounts.cuts, cut=proxy.cut)
                usual_ms = await gaps(session, amounts.cuts, cut=lambda: None)
    usual = median(usual_ms)
    return [
        Row(
            "cut to next event in the store, p50",
            median(gaps_ms),
            "ms",
            usual,
            "not cut, p50",
            "< 1,000 ms",
        ),
        Row("cut to next event in the store, max", max(gaps_ms), "ms", usual, "not cut, p50"),
    ]


async def gaps(session: Session, count: int, cut: Callable[[], None]) -> list[float]:
    """Milliseconds from each cut to the next event; what was under way before does not count."""
    found: list[float] = []
    async with aclosing(session.mirror.watch("job-steady")) as sights, asyncio.timeout(DEADLINE_S):
        cut_at = None
        async for sight in sights:
            now = utc_now()
            if not isinstance(sight, Applied) or not sight.records:
                continue
            if cut_at is not None and sight.records[-1].time > cut_at:
                found.append((now - cut_at).total_seconds() * 1000)
                if len(found) == count:
                    break
                cut_at = None
            elif cut_at is None:
                cut()
                cut_at = now
    return found


# --- idle -------------------------------------------------------------------------------------


async def measure_idle(amounts: Amounts) -> list[Row]:
    """The agent alone, with a job that nobody watches, and with one that is watched over SSH."""
    with bench_box() as box, running_agent(box):
        async with box.session(SSH) as session:
            alone, alone_mb = await cpu_share(box, amounts.seconds), box.agent_memory_mb()
            await box.start(session, SSH, box.spec("job-slow", SLOW))
            unwatched, job_mb = await cpu_share(box, amounts.seconds), box.agent_memory_mb()
            watching = asyncio.create_task(watch(session, "job-slow"))
            watched = await cpu_share(box, amounts.seconds)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    beside = "without a job"
    return [
        Row("agent's memory with a job", job_mb, "MB", alone_mb, beside, "< 60 MB"),
        Row("agent without a job, of one core", alone, "%"),
        Row("agent with a slow job, of one core", unwatched, "%"),
        Row("agent with it watched over SSH", watched, "%", unwatched, "not watched"),
    ]


async def watch(session: Session, job_id: str) -> None:
    """Store what comes, and look at nothing."""
    async with aclosing(session.mirror.watch(job_id)) as sights:
        async for _ in sights:
            pass


async def cpu_share(box: BenchBox, seconds: float) -> float:
    """Per cent of one core that the agent takes; what it does at first is not meant."""
    await asyncio.sleep(1)
    before = box.agent_cpu_s()
    await asyncio.sleep(seconds)
    return 100 * (box.agent_cpu_s() - before) / seconds


def measure_training(amounts: Amounts) -> list[Row]:
    """With the trainer extra only; torch is not imported here."""
    if find_spec("torch") is None:
        print("training: left out; it needs the trainer extra (pip install 'brightrun[trainer]').")
        return []
    from scripts.bench_training import measure_share

    return asyncio.run(measure_share(amounts.trainings))


if __name__ == "__main__":
    main()
