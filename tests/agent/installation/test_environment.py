from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.installation.base import STAMP
from agent.installation.environment import (
    Recipe,
    ensure_environment,
    unpack_pip,
)
from agent.installation.packages import Installers
from shared.errors import InstallationFailed, InvalidInput
from shared.pip_wheels import own_pip_wheels
from tests.remote.package_index import use_index, use_no_index, write_wheel


@pytest.fixture
def installers(tmp_path: Path) -> Installers:
    return Installers(unpack_pip(tmp_path / "pip", own_pip_wheels()))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """An environment with one package, from an index that is a directory."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    use_index(tmp_path / "home", tmp_path / "wheels")
    pins = write_wheel(tmp_path / "wheels", "little", "1.0", "text = 'hello'")
    return Recipe(tmp_path / "env" / "abc", pins, ("little",), "the packages", 1000)


def change(recipe: Recipe, **changes: object) -> Recipe:
    values = {name: getattr(recipe, name) for name in Recipe.__slots__}
    return Recipe(**{**values, **changes})


def test_an_environment_is_made_once(
    recipe: Recipe, installers: Installers, capsys: pytest.CaptureFixture[str]
) -> None:
    python = ensure_environment(recipe, installers)

    command = [str(python), "-c", "import little; print(little.text)"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "hello\n"
    assert "installing the packages (1 package)" in capsys.readouterr().out
    assert ensure_environment(recipe, installers) == python
    assert capsys.readouterr().out == ""


def test_one_that_was_left_half_made_is_made_anew(recipe: Recipe, installers: Installers) -> None:
    leftover = recipe.directory / "lib" / "half.py"
    leftover.parent.mkdir(parents=True)
    leftover.touch()

    ensure_environment(recipe, installers)

    assert not leftover.exists()
    assert (recipe.directory / STAMP).is_file()


def test_one_whose_interpreter_is_gone_is_made_anew(recipe: Recipe, installers: Installers) -> None:
    python = ensure_environment(recipe, installers)
    python.unlink()
    python.symlink_to("/nowhere/python3.11")

    ensure_environment(recipe, installers)

    assert subprocess.run([python, "-c", "import little"]).returncode == 0


def test_a_user_whose_pip_installs_for_the_user_gets_the_environment_all_the_same(
    recipe: Recipe, installers: Installers, tmp_path: Path
) -> None:
    settings = tmp_path / "home" / ".config" / "pip" / "pip.conf"
    settings.write_text(f"{settings.read_text()}user = true\n")
    python = ensure_environment(recipe, installers)
    assert subprocess.run([python, "-c", "import little"]).returncode == 0


def test_what_does_not_import_does_not_count(recipe: Recipe, installers: Installers) -> None:
    with pytest.raises(InstallationFailed, match="No module named 'other'"):
        ensure_environment(change(recipe, modules=("little", "other")), installers)
    assert not (recipe.directory / STAMP).exists()


def test_too_little_space_is_said_before_anything_is_made(
    recipe: Recipe, installers: Installers
) -> None:
    with pytest.raises(InvalidInput, match=r"take about 1000000\.0 GB, and \d+\.\d GB are free"):
        ensure_environment(change(recipe, needed_bytes=10**15), installers)
    assert not recipe.directory.exists()


def test_an_index_that_nobody_serves_is_said_to_be_out_of_reach(
    recipe: Recipe, installers: Installers, tmp_path: Path
) -> None:
    use_no_index(tmp_path / "home")
    with pytest.raises(InstallationFailed, match="index cannot be reached from there"):
        ensure_environment(recipe, installers)
    assert not (recipe.directory / STAMP).exists()


def test_where_the_python_has_no_pip_the_one_that_was_sent_installs(
    recipe: Recipe, tmp_path: Path
) -> None:
    sent = own_pip_wheels()[:1]
    assert sent, f"{sys.executable} has ensurepip"
    python = ensure_environment(recipe, Installers(unpack_pip(tmp_path / "pip", sent)))
    assert subprocess.run([python, "-c", "import little"]).returncode == 0


def test_without_any_pip_the_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="apt-get install python3-venv"):
        unpack_pip(tmp_path, [])


def test_uv_installs_where_it_is_there(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not among the installed packages")
    settings = tmp_path / "home" / ".config" / "uv" / "uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'no-index = true\nfind-links = ["{tmp_path / "wheels"}"]\n')

    # Without a pip there is nothing to fall back to.
    python = ensure_environment(recipe, Installers(tmp_path / "no pip", str(uv)))

    assert subprocess.run([python, "-c", "import little"]).returncode == 0
    assert "pip" not in capsys.readouterr().out


def test_where_uv_fails_pip_goes_on(
    recipe: Recipe, installers: Installers, capsys: pytest.CaptureFixture[str]
) -> None:
    python = ensure_environment(recipe, Installers(installers.pip, "/bin/false"))
    assert "uv failed; going on with pip" in capsys.readouterr().out
    assert subprocess.run([python, "-c", "import little"]).returncode == 0
