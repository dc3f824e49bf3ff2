from __future__ import annotations

import pytest

from agent.journal import Entry, Journal
from shared import events
from shared.errors import ProtocolError


def entries(*numbers):
    return [Entry(events.LogLine(message=f"{n}"), events.utc_now(), n * 10) for n in numbers]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def reopened(path):
    return Journal.open(path, "job-one", 1)


def write(path, *numbers):
    journal = reopened(path)
    journal.append(entries(*numbers))
    journal.close()


def test_the_line_number_is_the_sequence_number(path):
    journal = reopened(path)
    written = journal.append(entries(1, 2)) + journal.append(entries(3))
    assert [record.seq for record in written] == [1, 2, 3]
    assert journal.read() == written
    assert journal.read(after_seq=2) == written[2:]
    assert journal.read(after_seq=9) == []
    assert journal.read_lines(after_seq=1, limit=1) == path.read_bytes().splitlines()[1:2]
    journal.close()


@pytest.mark.parametrize(
    "tail", [b'{"job_id"', b"{}\n", b"\x00" * 20, b'{"half\n{"half', "é".encode()[:1] + b"\n"]
)
def test_a_torn_tail_is_cut_and_the_sequence_goes_on(path, tail):
    write(path, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    journal = reopened(path)
    assert path.read_bytes() == whole
    assert (journal.last_seq, journal.trainer_offset) == (2, 20)
    assert [record.seq for record in journal.append(entries(3))] == [3]
    assert [record.seq for record in journal.read()] == [1, 2, 3]
    journal.close()


def test_every_cut_of_a_journal_opens_and_goes_on(path):
    write(path, 1, 2, 3)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        journal = reopened(path)
        assert journal.last_seq == whole[:length].count(b"\n")
        journal.append(entries(9))
        assert [record.seq for record in journal.read()] == list(range(1, journal.last_seq + 1))
        journal.close()


def test_damage_in_the_middle_is_reported_not_cut(path):
    write(path, 1, 2, 3)
    path.write_bytes(path.read_bytes().replace(b'"message":"2"', b'"message":???'))
    journal = reopened(path)
    assert journal.last_seq == 3
    with pytest.raises(ProtocolError):
        journal.read()
    journal.close()


def test_a_line_of_another_journal_is_reported(path):
    write(path, 1)
    journal = Journal.open(path, "job-two", 1)
    with pytest.raises(ProtocolError, match="job-one"):
        journal.read()
    journal.close()


def test_what_a_failed_append_left_behind_is_written_over(path):
    journal = reopened(path)
    journal.append(entries(1))
    with path.open("ab") as file:
        file.write(b'{"half of a line that did not fit on the disk')
    journal.append(entries(2))
    assert [record.seq for record in journal.read()] == [1, 2]
    assert path.read_bytes().count(b"half") == 0
    journal.close()
