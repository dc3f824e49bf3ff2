from __future__ import annotations

from tests.tui.widgets.log_reading import reading

STEPS = [f"step {number} loss {'Bad' if number % 10 == 3 else 'fine'}" for number in range(60)]


async def test_a_search_goes_to_the_nearest_match_as_it_is_typed() -> None:
    async with reading(STEPS) as reader:
        await reader.press("slash", *"bad")
        assert reader.highlighted("current-match") == [("Bad", 13)]
        assert reader.status == "paused  ·  6/6 matches  ·  60 lines"
        await reader.press("enter")
        assert not reader.input.has_focus
        assert reader.status == "paused  ·  6/6 matches  ·  60 lines"


async def test_n_and_N_go_round_all_matches() -> None:
    async with reading(STEPS) as reader:
        await reader.press("slash", *"bad", "enter", "n")
        assert reader.status.startswith("paused  ·  1/6 matches")
        assert "step 3 loss Bad" in reader.rows
        await reader.press("n")
        assert reader.status.startswith("paused  ·  2/6 matches")
        await reader.press("N", "N")
        assert reader.status.startswith("paused  ·  6/6 matches")
        assert reader.highlighted("current-match") == [("Bad", 13)]
        assert reader.app.notes == []


async def test_an_uppercase_letter_makes_case_matter() -> None:
    async with reading(["loss", "Loss", "LOSS"]) as reader:
        await reader.press("slash", *"Loss")
        assert "1/1 match " in reader.status
        await reader.press(*["backspace"] * 4, *"loss")
        assert "1/3 matches" in reader.status


async def test_a_search_is_for_the_text_as_it_stands() -> None:
    async with reading(["a.c [x]", "abc (x"]) as reader:
        await reader.press("slash", *"a.c [", "enter")
        assert reader.highlighted("current-match") == [("a.c [", 0)]
        await reader.press("slash", *["backspace"] * 5, *"(/")
        assert "0 matches" in reader.status


async def test_escape_while_typing_is_as_if_nothing_had_been_searched() -> None:
    async with reading(STEPS) as reader:
        await reader.press("slash", *"step 3", "escape")
        assert reader.rows[-1] == STEPS[-1]
        assert reader.status == "following  ·  60 lines"
        await reader.press("home", "down", "slash", *"step 50", "escape")
        assert reader.rows[0] == STEPS[1]
        assert reader.highlighted() == []
        assert reader.app.notes == []


async def test_escape_after_a_search_clears_it_and_stays() -> None:
    async with reading(STEPS) as reader:
        await reader.press("slash", *"step 33", "enter")
        before = reader.rows
        await reader.press("escape")
        assert reader.rows == before
        assert reader.status == "paused  ·  60 lines"
        assert reader.input.value == ""


async def test_keys_without_a_use_in_the_pane_are_left_to_the_screen() -> None:
    async with reading(STEPS) as reader:
        await reader.press("escape", "N")
        assert reader.app.notes == ["escape", "N"]


async def test_all_matches_in_sight_are_marked_in_wide_and_scrolled_lines() -> None:
    line = "日本 loss 日本 loss " + "-" * 100 + " loss"
    async with reading([line]) as reader:
        await reader.press("slash", *"loss", "enter")
        assert reader.highlighted("current-match") == [("loss", 5)]
        assert reader.highlighted() == [("loss", 15)]
        await reader.press("n", "n")
        assert [text for text, _ in reader.highlighted("current-match")] == ["loss"]
        assert reader.rows[0].endswith("loss")
        await reader.press("n")
        reader.view.scroll_to(x=7, animate=False)
        assert reader.highlighted("current-match") == [("ss", 0)]
        assert reader.highlighted() == [("loss", 8)]
        reader.view.scroll_to(x=1, animate=False)
        assert reader.rows[0].startswith(" 本 loss")


async def test_new_lines_are_searched_and_dropped_ones_forgotten() -> None:
    async with reading(["bad old"], max_lines=20) as reader:
        await reader.press("slash", *"bad", "enter", "space")
        await reader.add(*["fine"] * 19, "bad new")
        assert reader.highlighted() == [("bad", 0)]
        assert "·  1 match  ·" in reader.status
        await reader.press("n")
        assert reader.highlighted("current-match") == [("bad", 0)]
        assert "1/1 match  " in reader.status


async def test_only_matching_lines_are_shown_on_demand() -> None:
    async with reading(STEPS) as reader:
        await reader.press("ampersand")
        assert reader.rows[-1] == STEPS[-1]
        await reader.press("slash", *"bad", "enter", "ampersand")
        assert reader.rows[:7] == [line for line in STEPS if "Bad" in line] + [""]
        assert "only matching lines" in reader.status
        await reader.press("space")
        await reader.add("step 60 fine", "step 61 bad")
        assert reader.rows[6] == "step 61 bad"
        await reader.press("n", "n", "ampersand")
        assert "step 3 loss Bad" in reader.rows
        assert "step 4 loss fine" in reader.rows
        await reader.press("ampersand", "escape")
        assert "only matching lines" not in reader.status
        assert "step 4 loss fine" in reader.rows


async def test_filtered_lines_stand_still_while_old_ones_are_dropped() -> None:
    lines = [f"bad {number}" if number % 2 else "fine" for number in range(100)]
    async with reading(lines, max_lines=100) as reader:
        await reader.press("slash", *"bad", "enter", "ampersand", "end", "up", "up")
        before = reader.rows
        assert before[-1] == "bad 95"
        await reader.add(*["bad again"] * 31)
        assert reader.rows == before
