"""The loaded part of a long chat: bounded, without holes, and around the message that a search leads to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from apps.viewmodels.chat import PAGE, Chat
from apps.viewmodels.excerpt import MAX_MESSAGES
from apps.viewmodels.words import MAX_SHOWN
from tests.unit.viewmodels.stage import person, until

COUNT = 700


def numbers(chat: Chat) -> list[int]:
    return [int(bubble.text.split()[1]) for bubble in chat.state.bubbles]


def test_scrolling_a_long_chat_keeps_a_bounded_number_of_messages(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada") as ada:
            notes = ada.chats.state.rows[0].id
            lines = tmp_path / "lines.jsonl"
            with lines.open("w") as file:
                for number in range(COUNT):
                    line = {"at": "2020-01-01T00:00:00Z", "from": "log", "text": f"line {number} of the log"}
                    file.write(json.dumps(line) + "\n")
            await ada.service.import_messages(notes, lines)

            await ada.show_chat(notes)
            chat = ada.chat(notes)
            assert numbers(chat) == list(range(COUNT - PAGE, COUNT))
            assert (chat.state.older, chat.state.newer) == (True, False)
            while chat.state.older:
                await chat.load_older()
                shown = numbers(chat)
                assert len(shown) <= MAX_MESSAGES and shown == list(range(shown[0], shown[0] + len(shown)))
            assert numbers(chat) == list(range(MAX_MESSAGES))  # so the end of it is no longer held

            # What is new while one reads far up waits at the end.
            await ada.service.send(notes, f"line {COUNT} is new")
            await chat.settled()
            assert numbers(chat)[-1] == MAX_MESSAGES - 1
            await chat.load_newer()
            assert numbers(chat) == list(range(PAGE, MAX_MESSAGES + PAGE))
            await chat.newest()
            assert numbers(chat) == list(range(COUNT - PAGE + 1, COUNT + 1))

            hits = (await ada.service.search('"123"')).hits
            await ada.show_chat(notes, hits[0].id)
            assert chat.state.target == hits[0].id
            assert numbers(chat) == list(range(123 - PAGE // 2, 123 + PAGE // 2))
            first = (await ada.service.search('"0" line')).hits[-1]
            await ada.show_chat(notes, first.id)
            assert numbers(chat)[0] == 0

    asyncio.run(story())


def test_control_characters_and_very_long_texts_become_plain_bubbles(tmp_path: Path) -> None:
    async def story() -> None:
        async with person(tmp_path / "ada", "Ada") as ada:
            notes = ada.chats.state.rows[0].id
            await ada.show_chat(notes)
            chat = ada.chat(notes)
            await chat.send("a\x1b[31mred\u202eback\x07\r\nnext")
            await chat.send("x" * 60_000)
            await chat.send("y\n" * 5_000)
            await chat.send("z" * 70_000)
            assert "64 KiB" in chat.state.problem  # and it stays in the composer
            await until(lambda: len(chat.state.bubbles) == 3)
            odd, long, high = chat.state.bubbles
            assert (odd.text, odd.cut) == ("a[31mredback\nnext", False)
            assert (len(long.text), long.cut) == (MAX_SHOWN + 1, True)
            assert high.cut and high.text.count("\n") < 30
            chat.show_full_text(long.id)
            assert len(chat.state.full_text) == 60_000

    asyncio.run(story())
