"""Adapters of rented jobs, which the controller brought home before it ended the machine.

They lie under the console's own directory until they are copied to where they are wanted; nothing
here speaks to a machine.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from shared.errors import AdapterRejected, IntegrityError, InvalidInput
from shared.manifest import (
    MANIFEST_NAME,
    PARTIAL_SUFFIX,
    manifest_sha256,
    sync_directory,
    verify,
)
from shared.rental import RentalPhase
from shared.store.rentals import StoredRental
from tui.config import Config


def adapter_at_home(config: Config, job_id: str) -> Path | None:
    """Where the job's adapter lies on this machine; None where it never arrived."""
    home = config.home / "adapters" / job_id
    return home if home.is_dir() else None


def copy_adapter(home: Path, destination: Path, expected_sha256: str | None) -> Path:
    """Copy it to `destination/<job id>/`, verified before and after; blocks.

    Called again, it finds what it has copied.

    Raises:
        AdapterRejected: what lies at home is not the adapter that the job's journal recorded.
        InvalidInput: the place is taken by something else, or cannot be written.
    """
    manifest = _checked(home, expected_sha256)
    final = destination / home.name
    partial = final.with_name(final.name + PARTIAL_SUFFIX)
    try:
        if final.exists():
            _require_same(final, home, manifest)
            return final
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(home, partial)
        _checked(partial, manifest)
        os.rename(partial, final)
        sync_directory(final.parent)
    except OSError as error:
        raise InvalidInput(
            f"{final}: cannot be written ({error.strerror}). Choose another place with --to."
        ) from error
    return final


def why_not_here(job_id: str, stored: StoredRental) -> str:
    """What to do for an adapter that is not at home; a sentence."""
    rental = stored.rental
    if stored.request.network_volume_id is not None and rental.phase is RentalPhase.DONE:
        return (
            f"{job_id} has no adapter here. What it wrote is on the network volume "
            f"{stored.request.network_volume_id}: `brightrun machines rescue {job_id}`."
        )
    if rental.phase is RentalPhase.DONE:
        return f"{job_id} has no adapter: {rental.outcome_detail or 'it ended without one'}."
    return (
        f"{job_id} is not done ({rental.phase}): its adapter is brought home as soon as it is; "
        f"`brightrun show {job_id}`."
    )


def _checked(directory: Path, expected_sha256: str | None) -> str:
    """The hash of its manifest, whose own list holds."""
    manifests = list(directory.rglob(MANIFEST_NAME))
    try:
        if len(manifests) != 1:
            raise IntegrityError(f"{directory}: has {len(manifests)} of {MANIFEST_NAME}.")
        verify(manifests[0].parent)
        found = manifest_sha256(manifests[0].parent)
    except IntegrityError as error:
        raise AdapterRejected(str(error)) from error
    if expected_sha256 is not None and found != expected_sha256:
        raise AdapterRejected(
            f"{directory}: is an adapter with manifest {found[:12]}; the job's journal recorded "
            f"{expected_sha256[:12]}."
        )
    return found


def _require_same(final: Path, home: Path, manifest: str) -> None:
    try:
        _checked(final, manifest)
    except AdapterRejected as error:
        raise InvalidInput(
            f"{final}: is there already, and is not this adapter (which is in {home}). Move it, "
            "or choose another place with --to."
        ) from error
