from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.sample import SAMPLE_JSON
from shared.errors import InvalidBaseModel, InvalidDataset, InvalidInput, OverBudget
from shared.forecast.forecast import Forecast, PartName
from shared.store.store import Store
from tests.fakes.runpod.server import FakeRunpod
from tests.shared.forecast.foreseen import past_job
from tests.shared.llama_70b import LLAMA_70B_CONFIG
from tests.shared.store.journal import BEGIN, job_spec
from tests.tui.fake_agent import FakeAgent
from tui.cli import run_app
from tui.command_line import app
from tui.commands.estimate import EstimateOptions, estimate_job
from tui.commands.start import StartOptions

HOSTILE = "\x1b]52;c;cm0=\x07\u202e"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a Llama of 70B."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_70B_CONFIG))
    return path


Options = Callable[..., EstimateOptions]


@pytest.fixture
def options(home: Path, config: Path) -> Options:
    """`options("lora_r=8", as_json=True, gpu=...)`, of the sample and the 70B model."""

    def make(
        *settings: str,
        as_json: bool = False,
        host: str | None = None,
        dataset: Path = SAMPLE_JSON,
        **others: Any,
    ) -> EstimateOptions:
        values = {"base_model": "tiny"}
        start = StartOptions((dataset,), settings, values, host=host, as_json=as_json)
        return EstimateOptions(start, **{"config": config, **others})

    return make


async def plain(options: EstimateOptions, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What it prints as JSON."""
    await estimate_job(options)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


async def test_every_line_of_the_arithmetic_is_shown_and_their_sum(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await estimate_job(options(usd_per_hour=2.39)) == 0

    out = capsys.readouterr().out
    assert "68,451,041,280 weights x (1/2 + 1/64 + 4/16,384) bytes   35.3 GB" in out
    assert "predicted peak (unverified on hardware)" in out
    assert "memory: about 54.4 GB of 80.0 GB (H100_PCIE)\n" in out
    assert "what would fit" not in out


async def test_the_forecast_is_told_part_by_part_with_ranges_and_sources(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await estimate_job(options(usd_per_hour=2.39)) == 0

    out = capsys.readouterr().out
    lines = {line.split("  ")[0]: " ".join(line.split()) for line in out.splitlines()}
    assert "Forecast on H100_PCIE" in out
    assert lines["training"] == (
        "training 0:01:00 0:00:54 0:01:09 assumed: 35 to 45 % of the peak of H100_PCIE"
    )
    assert lines["machine comes up"].endswith("0:10:00 assumed, unverified on hardware")
    assert lines["all of it"].split()[3:] == ["0:18:39", "0:07:17", "0:46:59"]
    assert lines["cost"] == ("cost $0.74 ($0.29 to $1.87) at $2.39 an hour, without interruptions")
    assert "more than" not in out


async def test_much_money_and_many_hours_are_warned_of(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await estimate_job(options("num_epochs=20", usd_per_hour=200.0)) == 0
    assert "! It may cost up to $" in capsys.readouterr().out
    assert "! It may take" not in capsys.readouterr().out


async def test_what_is_expected_to_cost_more_than_the_budget_is_refused(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OverBudget, match=r"About \$0.74 are expected .*the budget is \$0.50"):
        await estimate_job(options(usd_per_hour=2.39, budget_usd=0.5))
    assert "Forecast on H100_PCIE" in capsys.readouterr().out
    assert await estimate_job(options(usd_per_hour=2.39, budget_usd=0.75)) == 0


async def test_the_price_is_asked_for_only_where_that_is_wanted(
    runpod: FakeRunpod, options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await estimate_job(options()) == 0
    assert "unknown: --usd-per-hour gives the price" in capsys.readouterr().out
    assert runpod.calls("GET", "/catalog/gpus") == []

    assert await estimate_job(options(live=True)) == 0

    out = capsys.readouterr().out
    assert "at $2.39 an hour" in out
    assert "by RunPod's catalogue of now (stock: " in out
    with pytest.raises(InvalidInput, match="--live asks for a price"):
        await estimate_job(options(live=True, usd_per_hour=2.0))


async def test_an_earlier_job_on_such_a_machine_replaces_what_is_assumed(
    options: Options, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await plain(options(as_json=True), capsys)
    before = Forecast.model_validate(found["forecast"])
    ended = past_job(before, seconds={PartName.TRAINING: 5.0})
    await store.add_job(job_spec(), "runpod:job-one")
    await store.forecasts.put("job-one", before, BEGIN)
    await store.forecasts.settle("job-one", ended.actual)

    assert await estimate_job(options()) == 0

    out = capsys.readouterr().out
    assert "training              0:00:05   0:00:04  0:00:06  1 past job on H100_PCIE" in out


async def test_json_has_the_same_figures(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await plain(options(as_json=True), capsys)

    memory = found["memory"]
    assert memory["peak_bytes"] == sum(line["size_bytes"] for line in memory["lines"])
    assert (memory["fit"], memory["lora_parameters"]) == ("fits", 207_093_760)
    assert memory["is_verified_on_hardware"] is False
    assert found["plan"]["longest_row_tokens"] <= memory["micro_batch_tokens"] <= 8192
    foreseen = found["forecast"]
    assert foreseen["place"]["usd_per_hour"] is foreseen["cost_usd"] is None
    expected = [part["seconds"]["expected"] for part in foreseen["parts"]]
    assert foreseen["total_s"]["expected"] == pytest.approx(sum(expected))
    assert {part["name"] for part in foreseen["parts"]} == set(PartName)


async def test_what_is_too_large_is_refused_with_settings_that_fit(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    too_large = ("lora_r=256", "optim=adamw_torch")
    assert await estimate_job(options(*too_large)) == 2

    out = capsys.readouterr().out
    assert "(H100_PCIE): too much" in out
    [remedy] = [line.split()[1] for line in out.splitlines() if line.startswith("  --set")]
    assert remedy == "lora_r=64"
    assert await estimate_job(options(*too_large, remedy)) == 0
    assert await estimate_job(options(*too_large, gpu="h200")) == 0


async def test_replicas_need_as_much_each(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await estimate_job(options("num_gpus=2")) == 0
    assert "2 replicas, each with a model of its own: 54.4 GB on each" in capsys.readouterr().out


async def test_without_a_configuration_it_says_so_and_how_to_give_one(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = options(config=None)
    without.start.values["base_model"] = str(tmp_path / "nowhere")
    assert await estimate_job(without) == 0

    out = capsys.readouterr().out
    assert "memory  not known: " in out
    assert "give its config.json with --config FILE" in out
    assert "steps" in out


async def test_a_machine_of_ones_own_is_asked_and_not_changed(
    agent: FakeAgent, options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = {"index": 0, "name": f"RTX{HOSTILE} 4090", "memory_total_mib": 24_564}
    agent.machine = {"gpus": [gpu]}
    async with agent.running():
        assert await estimate_job(options(host="local")) == 2

    out = capsys.readouterr().out
    assert "of 24.0 GB (RTX" in out
    assert " 4090): too much" in out
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert "no earlier job with this model was measured on local" in out
    assert "  --gpu A100_80GB" in out
    assert agent.started == {}


async def test_a_machine_that_was_never_seen_stays_untouched(
    options: Options, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await estimate_job(options(host="local")) == 0
    assert "the host has not told its memory" in capsys.readouterr().out
    assert not (home / "agent").exists()


async def test_nothing_that_makes_no_sense_is_passed_over(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidInput, match=r"--gpu H9000: is not known; there are .*, H100_PCIE,"):
        await estimate_job(options(gpu="H9000"))
    with pytest.raises(InvalidInput, match="give one of them"):
        await estimate_job(options(gpu="H200", host="local"))
    with pytest.raises(InvalidBaseModel, match="cannot be read"):
        await estimate_job(options(config=tmp_path / "none.json"))
    with pytest.raises(InvalidDataset, match="nothing is left to train"):
        await estimate_job(options("max_seq_length=64", "over_long=exclude"))
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    with pytest.raises(InvalidDataset, match="has errors"):
        await estimate_job(options(dataset=empty))


def test_it_can_be_typed(home: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["estimate", "--dataset", str(SAMPLE_JSON), "--config", str(config), "--gpu", "H200"]
    code = run_app(app, [*typed, "--set", "pack_tokens=4096", "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["memory"]["micro_batch_tokens"] == 4096
