"""The journey of a message in docs/architecture.md is what happens."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.house.names import ROOT
from tests.support.tracer import Call, calls_of_the_product
from tests.unit.viewmodels.stage import friends, person, until

PAGE = ROOT / "docs" / "architecture.md"
HOP = re.compile(r"\| \d+ \| `(?P<file>[^`]+)` `(?P<function>[^`]+)` \|")
MOST = 20
# Folders that every path goes through without being a hop of any: codecs, and one call of a domain.
PASSED = {"sync/account", "identity"}


def hops(title: str) -> list[str]:
    """`file:function` of the hops under a heading of the page."""
    text = PAGE.read_text().split(f"### {title}\n", 1)[1].split("\n#", 1)[0]
    return [f"{hop['file']}:{hop['function']}" for hop in HOP.finditer(text)]


def found_in_order(wanted: list[str], calls: list[Call], start: int = 0) -> list[int]:
    """Where each of the wanted calls stands in the trace, each after the one before it."""
    at, places = start, list[int]()
    for hop in wanted:
        at = next((i for i in range(at, len(calls)) if calls[i].name == hop), -1) + 1
        assert at, f"{hop} does not happen after {wanted[: len(places)][-1:]}"
        places.append(at - 1)
    return places


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Every call while one window writes to another over UDP, until "delivered" is shown."""
    folder: Path = tmp_path_factory.mktemp("journey")
    found: list[Call] = []

    async def story() -> None:
        async with person(folder / "ada", "Ada") as ada, person(folder / "bob", "Bob") as bob:
            chat = await friends(ada, bob)
            await ada.show_chat(chat)
            mine, theirs = ada.chat(chat), bob.chat(chat)
            with calls_of_the_product() as calls:
                await mine.send("hello")
                await until(lambda: [bubble.text for bubble in theirs.state.bubbles] == ["hello"])
                await until(lambda: mine.state.bubbles[0].state == "delivered")
            found.extend(calls)

    asyncio.run(story())
    return found


@pytest.mark.parametrize("title", ["Out", "In"])
def test_the_page_names_at_most_twenty_hops_that_exist(title: str) -> None:
    named = hops(title)
    assert 10 <= len(named) <= MOST
    assert all((ROOT / hop.split(":")[0]).is_file() for hop in named)


def test_a_message_takes_the_hops_of_the_page_in_their_order(trace: list[Call]) -> None:
    out = found_in_order(hops("Out"), trace)
    found_in_order(hops("In"), trace, out[-1])


def test_no_folder_on_the_way_is_missing_on_the_page(trace: list[Call]) -> None:
    out, back = hops("Out"), hops("In")
    named = {hop.split(":")[0].rpartition("/")[0] for hop in (*out, *back)} | PASSED
    places = found_in_order(out, trace)
    places += found_in_order(back, trace, places[-1])
    passed = {folder for place in places for folder in trace[place].stack}
    assert passed <= named, sorted(passed - named)
