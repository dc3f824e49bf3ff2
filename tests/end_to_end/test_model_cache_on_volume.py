"""The base models on a network volume: the smallest machine is rented, used, and surely ended."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from shared.errors import BrightRunError, InvalidInput
from shared.rental import MachinePurpose, MachineState
from tests.end_to_end.rented import Rented, until_final, until_step
from tests.fakes import stand_in_cache
from tests.remote.remote_box import needs_a_box
from tui.commands.models_cache import CacheWhere, fill_model, list_models, prune_models
from tui.services.controller.fleet import our_machines
from tui.services.controller.machine_names import volume_owner
from tui.services.model_cache.cache import PruneWanted
from tui.services.session import Session

pytestmark = [needs_a_box, pytest.mark.slow]

MODEL = "org/files=3"
JOBS_COMMIT = "c" * 40


def use_stand_in(user: Rented, volume_id: str) -> None:
    """As a training stack of the user's own, for the machine that looks after base models."""
    directory = user.fake.volume_directory(volume_id) / "brightrun"
    seen = user.fake.mount_path / "brightrun"
    root = directory / "model-cache" / "agent"
    root.mkdir(parents=True)
    shutil.copy(stand_in_cache.__file__, directory / "stand_in_cache.py")
    run = f'exec $(ls {seen}/env/*/bin/python) -P {seen}/stand_in_cache.py "$@"'
    command = ["/bin/sh", "-c", run, "sh", "agent.trainer"]
    (root / "trainer.json").write_text(json.dumps({"command": command}))
    subprocess.run(["chown", "-R", f"{user.fake.user}:", str(directory)], check=True)


async def rent_first(user: Rented, session: Session, volume_id: str) -> None:
    """A job on the volume: what its machine was rented with is known to work."""
    request = user.request(network_volume_id=volume_id)
    notes = "steps=1 copy=39500"
    await user.start(session, "job-one", notes, request, base_model_revision=JOBS_COMMIT)
    await until_final(session, "job-one")


async def nothing_is_left(user: Rented, session: Session, volume_id: str) -> None:
    machines = await session.store.rentals.machines(volume_owner(volume_id))
    assert machines and {each.purpose for each in machines} == {MachinePurpose.CACHE}
    assert {each.state for each in machines} == {MachineState.GONE}
    assert await our_machines(session, session.provider()) == []
    assert user.fake.pods == [] and user.fake.violations == []


async def test_it_is_filled_listed_and_pruned_and_no_machine_is_left(
    user: Rented, capfd: pytest.CaptureFixture[str]
) -> None:
    volume = user.volume()
    use_stand_in(user, volume)
    where = CacheWhere(volume=volume, yes=True)
    async with user.controlled() as (session, _):
        await rent_first(user, session, volume)
        [known] = await session.store.cached_models.all()
        assert (known.volume_id, known.base_model, known.size_bytes) == (volume, "tiny", 39_500)

        with pytest.raises(InvalidInput, match="add --yes"):
            await fill_model(MODEL, None, CacheWhere(volume=volume), as_json=False)
        assert await fill_model(MODEL, None, where, as_json=True) == 0
        filled = json.loads(capfd.readouterr().out)
        assert (filled["was_there"], filled["model"]["is_complete"]) == (False, True)
        # What the look has found is all that there is.
        [known] = await session.store.cached_models.all()
        assert (known.base_model, known.revision) == (MODEL, stand_in_cache.COMMIT)
        copies = user.fake.volume_directory(volume) / "brightrun" / "models" / "org--files=3"
        assert copies.is_dir()
        await nothing_is_left(user, session, volume)

        assert await list_models(where, as_json=True) == 0
        [model] = json.loads(capfd.readouterr().out)["models"]
        assert model["base_model"] == MODEL

        assert await prune_models(PruneWanted(MODEL), where, as_json=False) == 0
        assert not copies.exists()
        assert await session.store.cached_models.all() == []
        await nothing_is_left(user, session, volume)


async def test_a_fill_that_fails_leaves_no_machine(user: Rented) -> None:
    volume = user.volume()
    use_stand_in(user, volume)
    script = user.fake.volume_directory(volume) / "brightrun" / "stand_in_cache.py"
    script.write_text("raise SystemExit('no room')")
    async with user.controlled() as (session, _):
        await rent_first(user, session, volume)
        with pytest.raises(BrightRunError, match="no room"):
            await fill_model(MODEL, None, CacheWhere(volume=volume, yes=True), as_json=False)
        await nothing_is_left(user, session, volume)
        assert await session.store.cached_models.volumes_with(MODEL) == []


async def test_nothing_is_pruned_while_a_job_may_read_it(user: Rented) -> None:
    volume = user.volume()
    async with user.controlled() as (session, _):
        request = user.request(network_volume_id=volume)
        await user.start(session, "job-two", "steps=500 delay=0.1", request)
        await until_step(session, "job-two", 1)
        with pytest.raises(InvalidInput, match="job-two has a machine on that volume"):
            await prune_models(
                PruneWanted(MODEL), CacheWhere(volume=volume, yes=True), as_json=False
            )
        assert len(user.fake.pods) == 1
