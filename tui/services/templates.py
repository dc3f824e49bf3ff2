"""Templates of jobs: made of a job or of what was typed, laid under what is typed for another."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.job_template import JobTemplate, MachineWishes, read_template
from shared.machine_request import MachineRequest
from shared.store.store import Store
from shared.store.stored import StoredJob
from tui.services.rent_plan import RentWanted

_LONGEST_NAME = 100


async def template_named(store: Store, name: str) -> JobTemplate:
    """The template of that name.

    Raises:
        InvalidInput: there is none, or a newer version has made it.
    """
    stored = await store.templates.get(name)
    return read_template(stored.name, stored.settings)


async def save_template(
    store: Store, name: str, template: JobTemplate, *, replace_it: bool = False
) -> str:
    """Keep a template; returns its name as it is kept.

    Raises:
        InvalidInput: no name, or one that is taken; or a value in it that is none.
    """
    kept_name = checked_name(name)
    template.check()
    settings = template.model_dump(mode="json", exclude_defaults=True)
    await store.templates.save(kept_name, settings, replace=replace_it)
    return kept_name


def checked_name(name: str) -> str:
    """The name as it is kept.

    Raises:
        InvalidInput: it is none.
    """
    kept_name = clean_line(name).strip()
    if not 1 <= len(kept_name) <= _LONGEST_NAME:
        raise InvalidInput(f"a template's name must have 1 to {_LONGEST_NAME} characters.")
    return kept_name


async def template_of(store: Store, job: StoredJob) -> JobTemplate:
    """The template that gives jobs like this one."""
    rented = await store.rentals.get(job.job_id)
    return JobTemplate.of(job.spec, None if rented is None else rented.request)


def wanted_of(request: MachineRequest) -> RentWanted:
    """What was wanted of the machine of a rented job."""
    return wanted_with(RentWanted(), MachineWishes.of(request))


def wanted_with(
    typed: RentWanted, wishes: MachineWishes, names: Collection[str] = ()
) -> RentWanted:
    """`typed` with wishes under it: what was typed by `names` comes first."""
    given = {name: value for name, value in wishes if value is not None and name not in names}
    return replace(typed, **given)
