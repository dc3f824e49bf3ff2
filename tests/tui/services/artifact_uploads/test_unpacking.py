"""Archives from elsewhere: what would leave the directory, or fill the disk, is refused."""

from __future__ import annotations

import io
import stat
import tarfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from shared.errors import AdapterRejected, InvalidInput
from tests.tui.services.artifact_uploads.adapters import make_adapter
from tui.services.artifact_uploads import unpacking
from tui.services.artifact_uploads.unpacking import unpack

EVIL_NAMES = [
    "../outside.txt",
    "adapter/../../outside.txt",
    "/tmp/outside-of-everything.txt",
    "..\\outside.txt",
    "C:/outside.txt",
    "~/outside.txt",
    "./x",
    "a//b",
    "a\x1b[2J",
]


def zip_of(path: Path, *entries: tuple[ZipInfo | str, bytes]) -> Path:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def everything_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_an_entry_that_leaves_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    archives = [
        zip_of(tmp_path / "evil.zip", (name, b"x")),
        tar_of(tmp_path / "evil.tar.gz", (tarfile.TarInfo(name), b"x")),
    ]
    for archive in archives:
        with pytest.raises(AdapterRejected, match="would leave the directory"):
            unpack(archive, tmp_path / "deep" / "out")
    assert everything_below(tmp_path) == {"evil.zip", "evil.tar.gz", "deep"}
    assert not Path("/tmp/outside-of-everything.txt").exists()


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    link = ZipInfo("adapter/link")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archives = [zip_of(tmp_path / "link.zip", (link, b"/etc/passwd"))]
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        entry = tarfile.TarInfo("adapter/link")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archives.append(tar_of(tmp_path / f"link-{kind.decode()}.tar.gz", (entry, b"")))
    for archive in archives:
        with pytest.raises(AdapterRejected, match="link or a device"):
            unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_of_a_thousand_to_one_is_refused_and_leaves_nothing(
    tmp_path: Path, kind: str
) -> None:
    zeros = bytes(64 * 2**20)
    archive = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        zip_of(archive, ("adapter/zeros", zeros))
    else:
        tar_of(archive, (tarfile.TarInfo("adapter/zeros"), zeros))
    assert len(zeros) / archive.stat().st_size > 900

    with pytest.raises(AdapterRejected, match="100 times its size"):
        unpack(archive, tmp_path / "out")
    assert everything_below(tmp_path) == {archive.name}


def test_a_size_that_an_entry_only_claims_is_not_believed(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "liar.zip", ("adapter/zeros", bytes(32 * 2**20)))
    content = bytearray(archive.read_bytes())
    # The central directory says 1 byte; the bytes themselves say otherwise.
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (1).to_bytes(4, "little")
    archive.write_bytes(bytes(content))
    with pytest.raises((AdapterRejected, InvalidInput)):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_entry_twice_or_far_too_many_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zip_of(tmp_path / "twice.zip", ("a/x", b"1"), ("a/x", b"2"))
    monkeypatch.setattr(unpacking, "_MOST_FILES", 2)
    many = zip_of(tmp_path / "many.zip", *((f"a/{number}", b"x") for number in range(3)))
    for archive in (twice, many):
        with pytest.raises(AdapterRejected, match="too many entries, or one twice"):
            unpack(archive, tmp_path / "out")


def test_what_is_no_whole_adapter_is_refused(tmp_path: Path) -> None:
    make_adapter(tmp_path / "adapter")
    (tmp_path / "adapter" / "tokenizer.json").write_text("changed")
    files = {f"adapter/{path.name}": path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    damaged = zip_of(tmp_path / "damaged.zip", *files.items())
    with pytest.raises(AdapterRejected, match="does not verify"):
        unpack(damaged, tmp_path / "out")
    with pytest.raises(AdapterRejected, match="0 directories with a manifest"):
        unpack(zip_of(tmp_path / "none.zip", ("x", b"")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_archive_and_what_is_taken_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InvalidInput, match="no ZIP or tar file"):
        unpack(tmp_path / "text.zip", tmp_path / "out")
    with pytest.raises(InvalidInput, match="no such file"):
        unpack(tmp_path / "missing.zip", tmp_path / "out")
    (tmp_path / "taken").mkdir()
    with pytest.raises(InvalidInput, match="is there already"):
        unpack(tmp_path / "text.zip", tmp_path / "taken")
