"""The page of HTML: complete, self-contained, and safe whatever the files say."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.findings import Finding, Severity
from shared.dataset.report import Group, LengthDistribution, OverLongRow
from shared.errors import InvalidInput
from shared.job_spec import DatasetReference
from tests.tui.hostile import HOSTILE
from tests.tui.views.reports import finding, report
from tui.services.dataset_check import BetweenFiles, CheckedFile
from tui.services.html_report import report_page, write_html_report

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVIL = (
    "</td></style></svg><script>alert(1)</script><img src=x onerror=alert(1)>"
    f"\" onclick='alert(1)' <a href=javascript:alert(1)>x</a> & &lt; {HOSTILE}"
)
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "section", "footer", "h1", "h2", "h3"),
    *("p", "div", "span", "b", "code", "table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "line", "text", "rect"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "viewbox", "role"),
    *("aria-label", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "text-anchor"),
}


class Page(HTMLParser):
    """What a browser would see: elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: dict[str, set[str]] = {}
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def checked(name: str = "train.json", *findings: Finding, **fields: Any) -> CheckedFile:
    reference = DatasetReference(file_name=name, sha256="ab" * 32, size_bytes=825_494)
    return CheckedFile(Path("/data", name), reference, "tiny", report(*findings, **fields))


def page_of(*files: CheckedFile, between: tuple[BetweenFiles, ...] = ()) -> str:
    return report_page(files, between, NOON)


def everywhere(evil: str) -> str:
    """A page with this text wherever foreign text can stand."""
    bad = finding(
        message=evil, advice=evil, conversation_id=evil, location=evil, snippet=evil, turn=2
    )
    other = finding(Severity.ERROR, evil, message="x" + evil, advice="")
    file = checked(
        evil.replace("/", "")[:200],
        *(bad, other, finding(Severity.ERROR, evil, message="y" + evil, advice=evil)),
        shape=evil,
        personas=(Group(evil, 1, 1, 1),),
        emotional_arcs=(Group(evil, 1, 1, 1),),
        training_topics=(Group(evil, 1, 1, 1),),
        over_long=(OverLongRow(evil, evil, 5_000, 904, (2,), ()),),
    )
    between = BetweenFiles(file, file, (bad,), {Severity.WARNING: {evil: 1}})
    return page_of(file, between=(between,))


def test_no_text_of_a_file_becomes_markup_or_steers_the_reader() -> None:
    page = Page(everywhere(EVIL))

    assert set(page.elements) <= ELEMENTS
    assert set(page.attributes) <= ATTRIBUTES
    assert not any("alert" in value for values in page.attributes.values() for value in values)
    assert "<script>alert(1)</script>" in page.text
    assert not set(page.text) & {"\x1b", "\x07", "\x00", "\u202e", "\u2066"}


def test_foreign_text_adds_no_element_to_the_page() -> None:
    plain, evil = Page(everywhere("plain")), Page(everywhere(EVIL))

    assert [tag for tag in evil.elements if tag != "title"] == [
        tag for tag in plain.elements if tag != "title"
    ]


def test_the_page_loads_nothing_and_its_policy_forbids_scripts_and_requests() -> None:
    text = page_of(checked())
    page = Page(text)
    policy = next(value for value in page.attributes["content"] if "default-src" in value)

    assert not {"src", "href", "srcset", "style"} & set(page.attributes)
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text
    assert "default-src 'none'" in policy and "script-src" not in policy
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy


def test_everything_of_a_check_is_on_the_page() -> None:
    cut = [finding(conversation_id="c1", turn=turn, snippet=f"so {turn}\\") for turn in range(250)]
    note = finding(Severity.NOTE, "pair_ids", message="ids repeat.", advice="Nothing to do.")

    text = Page(page_of(checked("train.json", *cut, note))).text

    for said in (
        *("train.json", "ab" * 32, "825.5 kB", "by hand", "tiny", "2026-11-23"),
        *("24,000", "folding saves 52 %", "3 folded, 3 unfolded", "anxious_planner", "(none)"),
        *("max_seq_length 4,096", "turns 10, 12 whole, turn 8 in part", "conversations[5]"),
        *("Warnings", "cut_target", "250 times", "Mend it.", "so 199\\", "… and 50 more"),
        *("Notes", "ids repeat.", "Nothing to do."),
    ):
        assert said in text, said


def test_the_picture_has_a_bar_for_each_bin_that_holds_rows() -> None:
    page = Page(page_of(checked()))

    assert page.elements.count("rect") == 4
    assert "bar over" in page.attributes["class"]
    assert "median 600" in page.text and "p99 4,529" in page.text
    assert "svg" not in Page(page_of(checked(lengths=LengthDistribution()))).elements


def test_a_limit_far_beyond_the_rows_does_not_squeeze_the_picture() -> None:
    far = Page(page_of(checked(max_seq_length=131_072, over_long_count=0)))

    assert "limit" not in far.attributes["class"]


def test_what_is_between_files_stands_on_the_page_too() -> None:
    leak = finding(Severity.ERROR, "leak_between_files", conversation_id="c7")
    train, held = checked("a.json"), checked("held.json")
    between = BetweenFiles(held, train, (leak,), {Severity.ERROR: {"leak_between_files": 1}})

    text = Page(page_of(train, held, between=(between,))).text

    assert "held.json and a.json" in text and "c7" in text


def test_a_file_that_cannot_be_read_has_a_page(tmp_path: Path) -> None:
    bare = {"conversations": 0, "rows": 0, "lengths": LengthDistribution(), "over_long_count": 0}
    file = CheckedFile(Path("x.json"), None, "tiny", report(finding(Severity.ERROR), **bare))

    write_html_report(tmp_path / "out.html", [file], [], NOON)

    assert "1 error" in Page((tmp_path / "out.html").read_text()).text


def test_an_earlier_page_is_replaced_and_any_other_file_is_safe(tmp_path: Path) -> None:
    page, train = tmp_path / "out.html", tmp_path / "train.json"
    page.write_text("earlier")
    train.write_text("precious")

    write_html_report(page, [checked()], [], NOON)
    with pytest.raises(InvalidInput, match=r"end with \.html"):
        write_html_report(train, [checked()], [], NOON)

    assert page.read_text().startswith("<!doctype html>")
    assert train.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == [page, train]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere/out\.html: .* no directory .*nowhere"):
        write_html_report(tmp_path / "nowhere" / "out.html", [checked()], [], NOON)
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(InvalidInput, match=r"taken\.html: cannot be written"):
        write_html_report(tmp_path / "taken.html", [checked()], [], NOON)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.html"]
