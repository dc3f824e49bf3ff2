"""Between a template and what is typed in forms: texts on both sides, nothing is read or kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.job_options import option_value, setting_text, usual_option
from shared.job_template import JobTemplate, MachineWishes
from tui.services.hosts.names import LOCAL, RUNPOD
from tui.services.rent_plan import RentWanted
from tui.views.job_draft import OPTIONS_ON_THE_FORM, JobDraft
from tui.views.rent_draft import RentDraft

_CHOICES = ("cut_targets", "over_long", "dry_run")
"""Options of the job that are chosen on the form; `OPTIONS_ON_THE_FORM` are typed."""
_OF_ONE_JOB = ("resume_from", "force_resume")


def draft_with(template: JobTemplate, draft: JobDraft) -> JobDraft:
    """The draft with the template's settings; its file, name and own host stay."""
    values = template.values()
    options = {
        name: values.get(name, usual_option(name)) for name in (*_CHOICES, *OPTIONS_ON_THE_FORM)
    }
    typed = {name: setting_text(options[name]) for name in OPTIONS_ON_THE_FORM}
    own_host = draft.host if draft.host_name != RUNPOD else LOCAL
    return replace(
        draft,
        preset=template.preset,
        base_model=template.base_model,
        revision=template.base_model_revision or "",
        tags=", ".join(template.tags),
        notes=template.notes,
        hyperparameters=dict(template.hyperparameters),
        host=own_host if template.machine is None else RUNPOD,
        carried={n: values[n] for n in template.options if n not in options},
        **{**options, **typed},
    )


def template_of_draft(draft: JobDraft, rent: RentDraft | None) -> JobTemplate:
    """The template that gives this form again; a machine's wishes only for one that is rented.

    Raises:
        InvalidInput: something on the form is wrong; says what it must be.
    """
    _refuse({n: text for n, text in draft.problems().items() if n not in ("dataset", "name")})
    options: dict[str, Any] = {
        **{name: getattr(draft, name) for name in _CHOICES},
        **{name: option_value(name, getattr(draft, name).strip()) for name in OPTIONS_ON_THE_FORM},
        **{n: value for n, value in draft.carried.items() if n not in _OF_ONE_JOB},
    }
    is_rented = draft.host_name == RUNPOD
    return JobTemplate(
        preset=draft.preset,
        base_model=draft.base_model.strip(),
        base_model_revision=draft.revision.strip() or None,
        hyperparameters=dict(draft.hyperparameters),
        options={
            name: setting_text(value)
            for name, value in options.items()
            if value != usual_option(name)
        },
        tags=tuple(dict.fromkeys(filter(None, map(clean_line, draft.tags.split(","))))),
        notes=draft.notes.strip(),
        machine=_wishes(rent or RentDraft()) if is_rented else None,
    )


def _wishes(rent: RentDraft) -> MachineWishes:
    _refuse({n: text for n, text in rent.problems().items() if n != "budget_usd"})
    wanted, usual = rent.wanted(), RentWanted()
    given = {name: getattr(wanted, name) for name in MachineWishes.model_fields}
    return MachineWishes(**{n: value for n, value in given.items() if value != getattr(usual, n)})


def _refuse(problems: Mapping[str, str]) -> None:
    for name, problem in problems.items():
        raise InvalidInput(f"{name}: {problem}")
