"""The screen of one conversation after the other, on real files."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.app import App

from shared.chat_format import ChatEncoder
from tests.shared.dataset.documents import document, file_pairs, jsonl
from tests.shared.small_tokenizer import put_small_model
from tests.tui.console_pilot import ScreenPilot
from tests.tui.hostile import HOSTILE, harm_on
from tui.screens.dataset_preview import DatasetPreviewScreen
from tui.services.inspection import encoder_of
from tui.widgets.token_view import TokenView

pytestmark = pytest.mark.usefixtures("home")

TALKS: dict[str, list[dict[str, Any]]] = {
    "c-one": file_pairs("hello", "Plant a tree.", "And?", "Water it."),
    "c-two": file_pairs("Which apple?", "A red one."),
    "c-three": file_pairs("Which tree?", "An old Tree."),
    "c-four": file_pairs("Cut?", "In the mid\\"),
}
PERSONAS = {"c-one": "gardener", "c-two": "cook", "c-three": "gardener", "c-four": ""}


class PreviewApp(App[None]):
    """Nothing but the screen above an empty one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self._arguments = arguments

    def on_mount(self) -> None:
        self.push_screen(DatasetPreviewScreen(*self._arguments))


Preview = ScreenPilot[PreviewApp]
Open = Callable[..., AbstractAsyncContextManager[Preview]]


def written(path: Path, talks: Mapping[str, list[dict[str, Any]]]) -> Path:
    content = document(**talks)
    for conversation in content["conversations"]:
        metadata = conversation["conversation_metadata"]
        key = PERSONAS.get(metadata["conversation_id"], "")
        metadata["scaffolding"] = {"persona_key": key}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    model = put_small_model(tmp_path / "model")

    @asynccontextmanager
    async def open_with(
        conversation: str | None = None,
        *,
        path: Path | None = None,
        base_model: str = str(model),
        max_seq_length: int = 4096,
        codes: Mapping[str, list[str]] | None = None,
        size: tuple[int, int] = (100, 30),
    ) -> AsyncIterator[Preview]:
        path = path or written(tmp_path / "train.json", TALKS)
        app = PreviewApp(path, base_model, max_seq_length, conversation, codes)
        async with app.run_test(size=size, notifications=True) as pilot:
            yield ScreenPilot(app, pilot)

    return open_with


async def test_a_conversation_is_shown_as_text_as_single_tokens_and_with_their_ids(
    opened: Open,
) -> None:
    async with opened() as pilot:
        await pilot.until_seen("1 of 4 · c-one", "gardener · no arc · no topic", "Plant a tree.")
        await pilot.until_seen("trained, none cut at max_seq_length 4,096")
        assert "<|start_header_id|>assistant<|end_header_id|>↵" in pilot.text
        for words in ("Plant·a·tree.", "hello⟨", "Plant a tree."):
            await pilot.press("t")
            await pilot.until_seen(words)


async def test_keys_go_from_one_conversation_to_the_next_and_stop_at_the_ends(
    opened: Open,
) -> None:
    async with opened() as pilot:
        await pilot.until_seen("1 of 4")
        for key, place in (("n", 2), ("right", 3), ("left", 2), ("G", 4), ("n", 4), ("g", 1)):
            await pilot.press(key)
            await pilot.until_seen(f"{place} of 4")
        await pilot.press("n", "n", "n")
        await pilot.until_seen(
            "4 of 4 · c-four", "nothing in it is trained", "not fed to the", "In the mid\\"
        )


async def test_it_opens_at_the_conversation_that_is_wanted(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(jsonl(**TALKS))
    async with opened("c-three", path=path) as pilot:
        await pilot.until_seen("3 of 4 · c-three", "An old Tree.")
        await pilot.press("p")
        await pilot.until_seen("2 of 4 · c-two", "A red one.")


async def test_what_is_beyond_max_seq_length_is_struck_out(opened: Open) -> None:
    async with opened(max_seq_length=60) as pilot:
        await pilot.until_seen("max_seq_length 60: the rest does not fit")
        struck = [
            segment.text
            for strip in pilot.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style and segment.style.strike
        ]
        assert "Water it." in struck
        assert not any("Plant" in text for text in struck)


async def test_only_conversations_that_pass_the_filter_are_shown(opened: Open) -> None:
    async with opened(codes={"c-four": ["cut_target"]}) as pilot:
        await pilot.until_seen("1 of 4")
        await pilot.press("f", "enter")
        await pilot.until_seen("Show only conversations with", "gardener  (2)", "none  (1)")
        await pilot.press("down", "enter", "ctrl+s")
        await pilot.until_seen("persona gardener", "1 of 2 conversations shown")
        await pilot.press("n")
        await pilot.until_seen("3 of 4 · c-three", "2 of 2 conversations shown")
        await pilot.press("escape")
        await pilot.until_gone("conversations shown")

        await pilot.press("f", "tab", "enter", "down", "enter", "ctrl+s")
        await pilot.until_seen("finding cut_target", "4 of 4 · c-four")

        # Nothing passes both: the filter stays as it was.
        await pilot.press("f", "enter", "down", "enter", "ctrl+s")
        await pilot.until_seen("No conversation has all of that.", "4 of 4 · c-four")
        assert "persona gardener" not in pilot.text


async def test_a_search_goes_through_all_conversations_and_keeps_those_that_hold_the_text(
    opened: Open,
) -> None:
    async with opened() as pilot:
        await pilot.until_seen("1 of 4")
        await pilot.press("slash", *"tree", "enter")
        await pilot.until_seen("“tree”", "1 of 2 conversations shown")
        await pilot.press("n")
        await pilot.until_seen("3 of 4 · c-three", "2 of 2 conversations shown")
        view = pilot.app.screen.query_exactly_one(TokenView)
        assert view.match_count == 2

        await pilot.press("escape")
        await pilot.until_gone("conversations shown")
        assert view.match_count == 0
        await pilot.press("slash", *"Tree", "enter")
        await pilot.until_seen("“Tree”", "1 of 1 conversation shown", "3 of 4")

        await pilot.press("slash", *"zebra", "enter")
        await pilot.until_seen("zebra” is in none of them.")
        await pilot.press("p")
        await pilot.until_seen("2 of 4 · c-two")

        await pilot.press("slash", "escape")
        await pilot.until(lambda: not pilot.app.screen.has_class("-asking"))
        await pilot.press("escape")
        await pilot.until(lambda: not isinstance(pilot.app.screen, DatasetPreviewScreen))


async def test_the_next_match_in_a_long_conversation_is_brought_into_sight(
    opened: Open, tmp_path: Path
) -> None:
    answer = "\n".join(["line"] * 60 + ["the first needle"] + ["line"] * 60 + ["the last needle"])
    path = written(tmp_path / "long.json", {"c": file_pairs("hello", answer)})
    async with opened(path=path) as pilot:
        await pilot.until_seen("1 of 1")
        await pilot.press("slash", *"needle", "enter")
        await pilot.until_seen("the first needle")
        await pilot.press("m")
        await pilot.until_seen("the last needle")
        await pilot.press("m")
        await pilot.until_seen("the first needle")


async def test_without_the_tokenizer_the_text_is_shown_and_that_is_said(opened: Open) -> None:
    async with opened(base_model="nobody/has-this") as pilot:
        await pilot.until_seen("the tokenizer of the base model is not here", "Plant a tree.")
        assert "<|start_header_id|>" not in pilot.text


async def test_text_comes_before_a_tokenizer_that_takes_its_time(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()

    def slow(base_model: str) -> ChatEncoder | None:
        may_go_on.wait(20)
        return encoder_of(base_model)

    monkeypatch.setattr("tui.screens.preview_work.encoder_of", slow)
    async with opened() as pilot:
        await pilot.until_seen("the tokenizer is being loaded", "Plant a tree.")
        may_go_on.set()
        await pilot.until_seen("<|start_header_id|>", "trained, none cut")


@pytest.mark.parametrize(
    ("content", "wanted", "said"),
    [
        ("{", None, "line 1, column 2"),
        (json.dumps(document(**TALKS)), "c-five", "none of the 4 conversations has the id"),
        (json.dumps(document()), None, "there is no conversation 1"),
    ],
)
async def test_what_cannot_be_opened_is_said_and_can_be_left(
    opened: Open, tmp_path: Path, content: str, wanted: str | None, said: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    async with opened(wanted, path=path) as pilot:
        await pilot.until(lambda: said in " ".join(pilot.text.split()))
        await pilot.press("n", "f", "slash", "t", "escape")
        await pilot.until(lambda: not isinstance(pilot.app.screen, DatasetPreviewScreen))


async def test_a_pair_that_cannot_be_read_is_told_beside_the_rest(
    opened: Open, tmp_path: Path
) -> None:
    talk = file_pairs("hello", "Hi.", "And?", "Well.")
    talk[3]["target_response"] = 7
    async with opened(path=written(tmp_path / "train.json", {"c": talk})) as pilot:
        await pilot.until_seen("left out: conversations[0].training_pairs[3]", "Hi.")


async def test_foreign_text_is_shown_and_does_nothing(opened: Open, tmp_path: Path) -> None:
    talk = file_pairs(HOSTILE, HOSTILE)
    path = written(tmp_path / "train.json", {HOSTILE: talk, "b": talk})
    codes = {"b": [HOSTILE]}
    async with opened(path=path, codes=codes, size=(60, 16)) as pilot:
        await pilot.until_seen("1 of 2")
        assert harm_on(pilot.app) == []
        for key in ("t", "t", "slash", "[", "slash", "enter", "f", "tab", "enter", "down"):
            await pilot.press(key)
            assert harm_on(pilot.app) == []
