"""Each thing that can be wrong with the project is found, named, and not mistaken for another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.events import utc_now
from shared.store.mirror_progress import MirrorFailure
from tests.fakes.supabase.rig import SupabaseRig
from tests.shared.store.journal import journal
from tests.tui.services.supabase.mirroring import add_job, session_in
from tests.tui.services.supabase.rest import sample
from tui.config import Config
from tui.services.doctor.checks import Finding, Verdict
from tui.services.supabase.doctor import SUPABASE_CHECKS, Project, examine_supabase
from tui.services.supabase.schema_check import TableFacts, schema_facts

Findings = dict[str, Finding]


class Patient:
    """A user with a home, and what the doctor says to them."""

    def __init__(self, rig: SupabaseRig, home: Path) -> None:
        self.rig = rig
        self.config = Config(home, home / "agent")
        self.environ: Mapping[str, str] = rig.environment(rig.user_one)

    async def log_in(self) -> None:
        await self.rig.log_in(self.config.supabase_session_path, self.rig.user_one)

    async def findings(self) -> Findings:
        project = Project(self.config, self.environ)
        return {finding.check: finding async for finding in examine_supabase(project)}


@pytest.fixture
def patient(fresh_supabase: SupabaseRig, tmp_path: Path) -> Patient:
    return Patient(fresh_supabase, tmp_path / "home")


def troubles(findings: Findings) -> list[str]:
    return [name for name, each in findings.items() if each.verdict is not Verdict.OK]


async def test_a_project_that_is_well_has_nothing_to_mend(patient: Patient) -> None:
    await patient.log_in()

    findings = await patient.findings()

    assert list(findings) == [check.name for check in SUPABASE_CHECKS]
    assert troubles(findings) == []
    assert findings["right"].found == "logged in as one@example.com"
    assert not any(finding.fix for finding in findings.values())


@pytest.mark.parametrize("kind", ["service_key", "secret_key"])
async def test_both_kinds_of_secret_keys_are_taken_and_what_they_lack_is_said(
    patient: Patient, kind: str
) -> None:
    key = vars(patient.rig)[kind]
    patient.environ = {"SUPABASE_URL": patient.rig.url, "SUPABASE_SECRET_KEY": key}

    findings = await patient.findings()

    assert troubles(findings) == ["right"]
    assert "BRIGHTRUN_SUPABASE_USER" in findings["right"].fix
    patient.environ = {**patient.environ, "BRIGHTRUN_SUPABASE_USER": patient.rig.user_one}
    assert troubles(await patient.findings()) == []


async def test_a_publishable_key_of_the_new_kind_is_taken(patient: Patient) -> None:
    key = patient.rig.publishable_key
    patient.environ = {"SUPABASE_URL": patient.rig.url, "SUPABASE_PUBLISHABLE_KEY": key}
    await patient.log_in()

    findings = await patient.findings()

    assert troubles(findings) == []
    assert findings["settings"].found == f"{patient.rig.url}, publishable key"


async def test_nothing_set_up_is_said_with_what_to_set(patient: Patient) -> None:
    patient.environ = {}

    findings = await patient.findings()

    assert findings["settings"].verdict is Verdict.FAILURE
    assert "SUPABASE_PUBLISHABLE_KEY" in findings["settings"].fix
    assert findings["schema"].verdict is Verdict.SKIPPED


async def test_a_missing_login_is_no_missing_schema(patient: Patient) -> None:
    findings = await patient.findings()

    assert findings["address"].verdict is Verdict.OK
    assert findings["right"].verdict is Verdict.FAILURE
    assert "`brightrun supabase login`" in findings["right"].found
    assert findings["schema"].verdict is Verdict.SKIPPED


async def test_a_login_that_was_ended_at_the_project_is_found(patient: Patient) -> None:
    patient.rig.auth.token_lifetime_s = 1
    try:
        await patient.log_in()
    finally:
        patient.rig.auth.token_lifetime_s = 3600
    patient.rig.auth.log_everybody_out()

    findings = await patient.findings()

    assert findings["right"].verdict is Verdict.FAILURE
    assert "`brightrun supabase login`" in findings["right"].found


async def test_a_revoked_key_is_found(patient: Patient) -> None:
    patient.rig.revoke(patient.rig.anon_key)

    findings = await patient.findings()

    assert findings["address"].verdict is Verdict.FAILURE
    assert "revoked" in findings["address"].found


async def test_a_project_that_does_not_answer_is_found(patient: Patient) -> None:
    patient.rig.stop("gateway")

    findings = await patient.findings()

    assert findings["address"].verdict is Verdict.FAILURE
    assert findings["address"].found.startswith("no answer")


@pytest.mark.parametrize(
    ("ahead_s", "said"), [(600, "600 s behind"), (-600, "s ahead of"), (20, "agrees")]
)
async def test_a_clock_that_is_off_is_told_and_breaks_nothing(
    patient: Patient, ahead_s: float, said: str
) -> None:
    patient.rig.gateway.date_offset_s = ahead_s
    await patient.log_in()

    findings = await patient.findings()

    assert said in findings["clock"].found.replace("599 s", "600 s").replace("601 s", "600 s")
    assert troubles(findings) == ([] if said == "agrees" else ["clock"])


async def test_tables_that_are_missing_are_found(patient: Patient) -> None:
    await patient.log_in()
    patient.rig.bare()
    patient.rig.reload_schema()

    findings = await patient.findings()

    assert findings["schema"].verdict is Verdict.FAILURE
    assert "brightrun supabase migrate" in findings["schema"].found
    assert findings["bucket"].verdict is Verdict.FAILURE


async def test_row_level_security_that_was_switched_off_is_found(patient: Patient) -> None:
    await patient.log_in()
    patient.rig.execute("alter table public.model_artifacts disable row level security")

    findings = await patient.findings()

    assert findings["row level security"].found == "off: model_artifacts"
    assert findings["row level security"].verdict is Verdict.FAILURE


async def test_rows_that_anybody_sees_are_found_by_really_asking(patient: Patient) -> None:
    await patient.log_in()
    sample(patient.rig, patient.rig.user_two)
    patient.rig.execute("grant select on public.training_jobs to anon")

    assert "no row is seen" in (await patient.findings())["strangers"].found

    patient.rig.execute("create policy open on public.training_jobs for select using (true)")
    findings = await patient.findings()

    assert findings["strangers"].verdict is Verdict.FAILURE
    assert findings["strangers"].found == "without a login rows are seen of: training_jobs"
    assert "training_jobs: open" in findings["row level security"].found


async def test_a_public_bucket_is_found(patient: Patient) -> None:
    await patient.log_in()
    patient.rig.execute("update storage.buckets set public = true")

    assert "is public" in (await patient.findings())["bucket"].found


async def test_a_bucket_that_is_too_small_for_a_large_adapter_is_told(patient: Patient) -> None:
    await patient.log_in()
    patient.rig.execute("update storage.buckets set file_size_limit = 50000000")

    finding = (await patient.findings())["file size"]

    assert finding.verdict is Verdict.WARNING
    assert finding.found.startswith("files up to 50.0 MB; an adapter of Llama 3 70B")


async def test_a_project_that_hangs_in_the_middle_ends_as_a_finding(patient: Patient) -> None:
    await patient.log_in()
    patient.rig.faults.add(path="/rpc/", status=503, times=None)

    findings = await patient.findings()

    assert findings["schema"].verdict is Verdict.FAILURE
    assert "cannot answer now" in findings["schema"].found


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (MirrorFailure.REFUSED, "Nothing else waits for it"),
        (MirrorFailure.UNAUTHORIZED, "by itself"),
    ],
)
async def test_what_the_mirror_cannot_bring_there_is_told(
    patient: Patient, failure: MirrorFailure, advice: str
) -> None:
    await patient.log_in()
    target = patient.rig.settings(patient.rig.user_one).target
    async with session_in(patient.config.home) as session:
        await add_job(session.store, journal())
        progress = session.store.mirror_progress
        await progress.take_picture("job-one", target)
        await progress.note_failure("job-one", target, failure, "for a reason.", utc_now())

    finding = (await patient.findings())["mirror"]

    assert finding.verdict is Verdict.WARNING
    assert "for a reason." in finding.found
    assert advice in finding.fix


async def test_no_finding_holds_a_key_a_token_or_a_password(patient: Patient) -> None:
    await patient.log_in()
    login = json.loads(patient.config.supabase_session_path.read_text())
    secrets = [login["access_token"], login["refresh_token"], patient.rig.password]
    secrets += [patient.rig.anon_key, patient.rig.service_key]
    told = []
    for environ in (patient.environ, patient.rig.environment()):
        patient.environ = environ
        told += [str(finding) for finding in (await patient.findings()).values()]
    patient.rig.revoke(patient.rig.service_key)
    told += [str(finding) for finding in (await patient.findings()).values()]

    assert not any(secret in text for secret in secrets for text in told)


def test_a_schema_of_another_version_is_not_taken_for_ours() -> None:
    table = {"rls": True, "anon": False, "policies": ["brightrun_owner"]}
    names = ("training_files", "training_jobs", "model_artifacts", "training_metrics_history")
    said = {"version": 2, "tables": dict.fromkeys(names, table)}

    facts = schema_facts(said)

    assert not facts.is_current
    assert facts.tables[0] == TableFacts("training_files", True, False, ("brightrun_owner",))
