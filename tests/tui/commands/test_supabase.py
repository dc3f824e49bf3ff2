"""`brightrun supabase`, typed, against the stand-in project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.local_console import Console
from tests.tui.services.supabase.rest import sample
from tui.services.supabase.migration import migration_sql

CANARY = "canary-of-a-password"


@pytest.fixture
def console(fresh_supabase: SupabaseRig, tmp_path: Path) -> Console:
    """A user of the project who is not logged in."""
    console = Console(tmp_path)
    console.environment |= fresh_supabase.environment(fresh_supabase.user_one)
    return console


def terminal_of(console: Console, *arguments: str) -> Any:
    """The command with a person before it."""
    return pexpect.spawn(
        sys.executable,
        ["-c", "from tui.cli import main; main()", *arguments],
        env=console.environment,
        encoding="utf-8",
        timeout=60,
    )


def login(console: Console, rig: SupabaseRig) -> None:
    console.environment["SUPABASE_PASSWORD"] = rig.password
    assert console.run("supabase", "login", "--email", "one@example.com")[0] == 0
    del console.environment["SUPABASE_PASSWORD"]


def without_password(url: str) -> str:
    return url.replace("postgres:postgres@", "postgres@")


def test_a_user_logs_in_looks_around_and_logs_out(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    code, _, err = console.run("supabase", "status")
    assert code == 8 and "supabase login" in console.run("supabase", "status")[1] + err

    login(console, fresh_supabase)
    sample(fresh_supabase, fresh_supabase.user_one)
    sample(fresh_supabase, fresh_supabase.user_two)

    code, out, _ = console.run("supabase", "status", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["right"] == "anon key, logged in as one@example.com"
    assert set(told["rows"].values()) == {1}, "the other user's rows are not counted"
    assert (told["version"], told["trouble"]) == (1, None)
    assert told["mirror"] == "up to date"
    shown = console.run("supabase", "status")[1]
    assert "training_jobs             1 row\n" in shown
    assert "model-artifacts, private, files up to 5.4 GB" in shown

    assert console.run("supabase", "logout")[:2] == (0, "Logged out.\n")
    assert not list(console.home.glob("supabase-session*"))
    assert fresh_supabase.gateway.calls("POST", "/auth/v1/logout")
    assert console.run("supabase", "logout")[1] == "Nobody was logged in.\n"


def test_the_password_is_asked_for_without_echo(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    with terminal_of(console, "supabase", "login") as terminal:
        terminal.expect("E-mail at .*: ")
        terminal.sendline("one@example.com")
        terminal.expect("Password: ")
        terminal.sendline(fresh_supabase.password)
        terminal.expect("Logged in to .* as one@example.com")
        assert fresh_supabase.password not in terminal.before


def test_a_wrong_password_is_not_repeated(console: Console) -> None:
    console.environment["SUPABASE_PASSWORD"] = CANARY

    code, out, err = console.run("supabase", "login", "--email", "one@example.com")

    assert code == 8
    assert "Invalid login credentials" in err
    assert CANARY not in out + err


@pytest.mark.parametrize("command", ["login", "status"])
def test_without_a_project_the_variables_to_set_are_named(tmp_path: Path, command: str) -> None:
    code, _, err = Console(tmp_path).run("supabase", command)

    assert code == 2
    assert "SUPABASE_URL" in err


def test_a_secret_key_needs_no_login(console: Console, fresh_supabase: SupabaseRig) -> None:
    console.environment |= fresh_supabase.environment()

    code, _, err = console.run("supabase", "login", "--email", "one@example.com")

    assert code == 2
    assert "needs no login" in err


def test_logging_out_works_where_the_project_is_away(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    login(console, fresh_supabase)
    fresh_supabase.stop("gateway")

    code, out, _ = console.run("supabase", "logout")

    assert code == 0
    assert out.startswith("Logged out here.")
    assert not (console.home / "supabase-session.json").exists()


def test_status_without_an_answer_tells_what_is_known_here(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    login(console, fresh_supabase)
    fresh_supabase.stop("gateway")

    code, out, _ = console.run("supabase", "status", "--json")

    told = json.loads(out)
    assert code == 8
    assert "does not answer" in told["trouble"]
    assert (told["rows"], told["mirror"]) == (None, "up to date")


def test_the_doctor_exits_with_1_where_something_is_to_be_mended(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    code, out, _ = console.run("supabase", "doctor")
    assert code == 1
    assert "✗ right" in out
    assert out.endswith("\n1 failure; 0 warnings.\n")

    login(console, fresh_supabase)
    code, out, _ = console.run("supabase", "doctor")
    assert (code, out.count("✓")) == (0, 11)
    assert out.endswith("\nSupabase is ready; 0 warnings.\n")
    code, out, _ = console.run("supabase", "doctor", "--json")
    assert {finding["verdict"] for finding in json.loads(out)} == {"ok"}


def test_the_general_doctor_has_a_line_about_it(
    console: Console, fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    def line(of: Console) -> str:
        out = of.run("doctor")[1]
        return next(line for line in out.splitlines() if " Supabase " in line)

    assert line(console).endswith(
        f"{fresh_supabase.url}, anon key; `brightrun supabase doctor` looks closer"
    )
    del console.environment["SUPABASE_PUBLISHABLE_KEY"]
    assert line(console).startswith("! Supabase")
    del console.environment["SUPABASE_URL"]
    assert line(console).endswith("not set up: jobs are seen here only")


def test_migrate_says_what_it_did_and_is_safe_to_run_twice(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    fresh_supabase.bare()
    console.environment["SUPABASE_DB_URL"] = fresh_supabase.migration_url

    first, second = console.run("supabase", "migrate"), console.run("supabase", "migrate")

    assert first[:2] == (0, "Tables, rules and buckets were made: schema public, version 1.\n")
    assert second[1] == "Tables, rules and buckets are up to date: schema public, version 1.\n"
    code, out, _ = console.run("supabase", "migrate", "--schema", "brightrun")
    assert code == 0
    assert "BRIGHTRUN_SUPABASE_SCHEMA=brightrun" in out


def test_migrate_refuses_tables_of_another_shape_with_its_own_exit_code(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    fresh_supabase.bare()
    fresh_supabase.execute("create table public.training_jobs (id uuid primary key, title text)")
    console.environment["SUPABASE_DB_URL"] = fresh_supabase.migration_url

    code, _, err = console.run("supabase", "migrate")

    assert code == 8
    assert "table public.training_jobs has another shape: it lacks actual_cost_usd" in err


def test_the_databases_password_comes_from_the_environment_and_never_from_the_arguments(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    url = fresh_supabase.migration_url
    typed = url.replace(":postgres@", f":{CANARY}@")

    code, out, err = console.run("supabase", "migrate", "--database-url", typed)
    assert (code, CANARY in out + err) == (2, False)
    code, _, err = console.run("supabase", "migrate", "--database-url", url + "?password=x")
    assert code == 2

    bare_url = without_password(url)
    console.environment["SUPABASE_DB_PASSWORD"] = f"{CANARY}@:/%"
    code, out, err = console.run("supabase", "migrate", "--database-url", bare_url)
    assert (code, "does not accept" in err, CANARY in out + err) == (8, True, False)
    console.environment["SUPABASE_DB_PASSWORD"] = "postgres"
    assert console.run("supabase", "migrate", "--database-url", bare_url)[0] == 0


def test_the_databases_password_is_asked_for_without_echo(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    url = without_password(fresh_supabase.migration_url)
    with terminal_of(console, "supabase", "migrate", "--database-url", url) as terminal:
        terminal.expect("Password of the database: ")
        terminal.sendline("postgres")
        terminal.expect("are up to date")


def test_migrate_without_a_database_names_the_variable(console: Console) -> None:
    code, _, err = console.run("supabase", "migrate")

    assert code == 2
    assert "SUPABASE_DB_URL" in err


def test_the_sql_is_printed_for_other_tools_and_nothing_is_asked(tmp_path: Path) -> None:
    code, out, _ = Console(tmp_path).run("supabase", "migrate", "--print")

    assert (code, out) == (0, migration_sql())


def test_help_loads_neither_the_client_nor_the_databases(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from tui.cli import run_app\n"
        "from tui.command_line import app\n"
        "run_app(app, ['supabase', '--help'])\n"
        "print([name for name in ('supabase', 'asyncpg', 'httpx') if name in sys.modules])"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert said.endswith("[]\n")
    assert "migrate" in said
