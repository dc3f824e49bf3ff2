"""`brightrun template`: keeps settings under a name, for jobs that are to begin with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.hyperparameters import Hyperparameters, Preset
from shared.job_options import JOB_OPTIONS, parse_setting, read_settings
from shared.job_template import JobTemplate, read_template
from shared.number_text import date_and_clock
from shared.store.templates import StoredTemplate
from tui import exit_codes
from tui.commands.output import print_json, print_pairs, print_table, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.templates import save_template, template_named, template_of


@dataclass(frozen=True, slots=True)
class TemplateOptions:
    """What was typed; None where nothing was."""

    from_job: str | None = None
    settings: tuple[str, ...] = ()
    """Each `NAME=VALUE`."""
    preset: str | None = None
    model: str | None = None
    revision: str | None = None
    tags: tuple[str, ...] | None = None
    notes: str | None = None
    replace: bool = False
    """Also where the name is taken."""


async def save(name: str, options: TemplateOptions) -> int:
    """Keep a job's settings, or those that were typed, under a name."""
    async with open_terminal_session() as session:
        begun = JobTemplate()
        if options.from_job is not None:
            job = await session.store.get_job(options.from_job)
            begun = await template_of(session.store, job)
        template = _changed(begun, options)
        kept = await save_template(session.store, name, template, replace_it=options.replace)
    say_line(f"template {kept} is kept.")
    say_line(f"  brightrun start --template {_quoted(kept)} --dataset FILE")
    return exit_codes.OK


async def list_all(*, as_json: bool) -> int:
    """Print all templates by name."""
    async with open_terminal_session() as session:
        found = await session.store.templates.all()
    if as_json:
        print_json([_to_dict(each) for each in found])
    elif not found:
        say("no templates yet; `brightrun template save NAME --from JOB` makes one.")
    else:
        headers = ["NAME", "BASE MODEL", "PRESET", "MACHINE", "CHANGED"]
        print_table(headers, [_row(each) for each in found], shrinking="NAME")
    return exit_codes.OK


async def show(name: str, *, as_json: bool) -> int:
    """Print what is in a template."""
    async with open_terminal_session() as session:
        if as_json:
            print_json(_to_dict(await session.store.templates.get(name)))
            return exit_codes.OK
        template = await template_named(session.store, name)
    print_pairs(template.lines())
    return exit_codes.OK


async def delete(name: str) -> int:
    """Forget a template."""
    async with open_terminal_session() as session:
        await session.store.templates.delete(name)
    say_line(f"template {clean_line(name)} is gone; jobs that began with it stay as they are.")
    return exit_codes.OK


def _changed(template: JobTemplate, options: TemplateOptions) -> JobTemplate:
    """The template with what was typed laid over it.

    Raises:
        InvalidJobSpec: no such setting, or an option out of its range.
    """
    typed = dict(map(parse_setting, options.settings))
    read_settings(typed)
    if "resume_from" in typed or "force_resume" in typed:
        raise InvalidInput("a checkpoint belongs to one job: a template names none.")
    model = options.model
    if model is not None and Path(model).expanduser().is_dir():
        model = str(Path(model).expanduser().absolute())  # Jobs are started from anywhere.
    given = {
        "preset": None if options.preset is None else Preset(options.preset),
        "base_model": model,
        "base_model_revision": options.revision,
        "tags": options.tags,
        "notes": options.notes,
    }
    hyperparameters = {n: text for n, text in typed.items() if n in Hyperparameters.model_fields}
    others = {n: text for n, text in typed.items() if n in JOB_OPTIONS}
    return template.model_copy(
        update={
            **{name: value for name, value in given.items() if value is not None},
            "hyperparameters": {**template.hyperparameters, **hyperparameters},
            "options": {**template.options, **others},
        }
    )


def _row(stored: StoredTemplate) -> list[str]:
    changed = date_and_clock(stored.updated_at)
    try:
        template = read_template(stored.name, stored.settings)
    except InvalidInput:
        return [stored.name, "of a newer version", "", "", changed]
    machine = "" if template.machine is None else "rented"
    return [stored.name, template.base_model, template.preset.value, machine, changed]


def _to_dict(stored: StoredTemplate) -> dict[str, object]:
    return {
        "name": stored.name,
        "settings": dict(stored.settings),
        "created_at": stored.created_at.isoformat(),
        "updated_at": stored.updated_at.isoformat(),
    }


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
