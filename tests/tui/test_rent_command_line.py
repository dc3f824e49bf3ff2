"""What is typed about a rented machine reaches the request, and costs no start-up time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.machine_request import AfterInterruptions, Cloud
from tui import command_line
from tui.cli import run_app
from tui.commands import machines
from tui.commands import start as start_command
from tui.commands.rent import RentOptions
from tui.commands.start import StartOptions
from tui.services.rent_plan import RentWanted


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[StartOptions]:
    """The options of each start; nothing is started."""
    seen: list[StartOptions] = []

    async def note(options: StartOptions) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(start_command, "start_job", note)
    return seen


def run(*arguments: str) -> int:
    return run_app(command_line.app, ["start", "--dataset", "a.jsonl", *arguments])


def test_every_option_of_a_rented_machine_arrives(typed: list[StartOptions]) -> None:
    words = (
        "--host runpod --gpu H100_SXM --gpu H100_PCIE --gpu-count 2 --cloud community --cloud "
        "secure --data-center US-KS-2 --data-center EU-RO-1 --volume new:200 --budget 40 "
        "--max-hours 12 --instance-type spot --image an/image:1 --registry 6n2k8v4d "
        "--start-script /opt/start --mount-path /data --disk 80 --max-interruptions 5 "
        "--after-interruptions next_gpu --wait-hours 2.5 --ignore-memory --yes"
    )
    assert run(*words.split()) == 0

    [options] = typed
    wanted = RentWanted(
        budget_usd=40.0,
        gpu_types=("H100_SXM", "H100_PCIE"),
        gpu_count=2,
        clouds=(Cloud.COMMUNITY, Cloud.SECURE),
        data_centers=("US-KS-2", "EU-RO-1"),
        volume="new:200",
        instance_type="spot",
        max_duration_hours=12.0,
        image="an/image:1",
        registry="6n2k8v4d",
        start_script="/opt/start",
        mount_path="/data",
        container_disk_gb=80,
        max_interruptions=5,
        after_interruptions=AfterInterruptions.NEXT_GPU,
        wait_for_stock_hours=2.5,
        ignore_memory=True,
    )
    assert options.rent == RentOptions(wanted, yes=True)
    assert (options.host, options.values["num_gpus"]) == ("runpod", 2)


def test_what_is_not_typed_is_as_the_request_has_it(typed: list[StartOptions]) -> None:
    assert run() == 0
    assert typed[0].rent == RentOptions(RentWanted(), yes=False)
    assert typed[0].values["num_gpus"] is None


@pytest.mark.parametrize(
    "words", ["--cloud heaven", "--budget 0", "--max-hours 721", "--gpu-count 9", "--disk 9"]
)
def test_a_value_out_of_its_range_starts_nothing(
    typed: list[StartOptions], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words.split()) == 2
    assert words.split()[0] in capsys.readouterr().err
    assert typed == []


def test_help_of_the_new_commands_loads_nothing_heavy() -> None:
    program = (
        "import sys; from tui.cli import run_app; from tui.command_line import app\n"
        "for words in (['machines', '--help'], ['serve', '--help'], ['start', '--help']):\n"
        "    assert run_app(app, words) == 0\n"
        "heavy = {'sqlalchemy', 'httpx', 'asyncssh', 'runpod', 'textual', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_machines_lists_where_no_command_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    async def note(hosts: list[str], **options: bool) -> int:
        seen.append((hosts, options))
        return 0

    monkeypatch.setattr(machines, "list_machines", note)
    for words in ("", "ssh:gpu --adopt", "--json local", "list --json local"):
        assert run_app(command_line.app, ["machines", *words.split()]) == 0

    assert seen == [
        ([], {"as_json": False, "adopt": False}),
        (["ssh:gpu"], {"as_json": False, "adopt": True}),
        (["local"], {"as_json": True, "adopt": False}),
        (["local"], {"as_json": True, "adopt": False}),
    ]
