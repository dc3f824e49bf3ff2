from __future__ import annotations

import asyncio

from shared.errors import SshRefused
from tui.services.doctor.checks import Check, Finding, Outcome, Verdict, ok, run_checks, warning


async def well(looked: list[str]) -> Outcome:
    looked.append("well")
    return ok("there")


async def badly(looked: list[str]) -> Outcome:
    looked.append("badly")
    raise SshRefused("the key does not\x1b[31m fit;\nmend it.")


async def for_ever(looked: list[str]) -> Outcome:
    await asyncio.Event().wait()
    return ok("never")


async def found(*checks: Check[list[str]], looked: list[str] | None = None) -> list[Finding]:
    seen = [] if looked is None else looked
    return [finding async for finding in run_checks("here", checks, seen)]


async def test_what_depends_on_a_failure_is_skipped_with_all_that_depends_on_it() -> None:
    looked: list[str] = []
    findings = await found(
        Check("first", well),
        Check("second", badly, needs=("first",)),
        Check("third", well, needs=("first", "second")),
        Check("fourth", well, needs=("third",)),
        Check("fifth", well, needs=("first",)),
        looked=looked,
    )

    verdicts = [finding.verdict for finding in findings]
    assert verdicts == ["ok", "failure", "skipped", "skipped", "ok"]
    assert [finding.found for finding in findings[2:4]] == ["needs: second", "needs: third"]
    assert looked == ["well", "badly", "well"]


async def test_an_expected_error_is_a_failure_in_its_own_clean_words() -> None:
    [finding] = await found(Check("key", badly))
    assert finding == Finding("here", "key", Verdict.FAILURE, "the key does not fit; mend it.")


async def test_a_check_that_hangs_is_a_failure_and_the_next_ones_are_made() -> None:
    findings = await found(Check("hanging", for_ever, timeout_s=0.05), Check("next", well))

    assert [finding.verdict for finding in findings] == ["failure", "ok"]
    assert findings[0].found == "no answer within 0.05 s"


async def test_a_warning_stops_nothing() -> None:
    async def scarce(_: list[str]) -> Outcome:
        return warning("little\u202e", "more\x07")

    findings = await found(Check("room", scarce), Check("next", well, needs=("room",)))

    assert findings[0] == Finding("here", "room", Verdict.WARNING, "little", "more")
    assert findings[1].verdict is Verdict.OK


async def test_findings_come_one_by_one() -> None:
    coming = run_checks("here", (Check("first", well), Check("second", for_ever)), list[str]())
    assert (await anext(coming)).check == "first"
    await coming.aclose()
