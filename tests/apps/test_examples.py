"""The bots of `examples/` run, as programs of their own, and do what docs/service.md says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from sync.service.models import Members
from tests.support.processes import CHECKOUT, DEADLINE, HOST, Profile, Stage

EXAMPLES = CHECKOUT / "examples"
BOTS = {"echo_bot.py", "backup_bot.py"}


class Bot:
    """An example under way.  `line` gives what follows the word that a line of it begins with."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, word: str) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while said := (await self.process.stdout.readline()).decode():
                if said.startswith(word + " "):
                    return said.removeprefix(word).strip()
        raise EOFError(f"the bot ended without {word!r}")


@contextlib.asynccontextmanager
async def bot(name: str, *words: str | Path, like: Profile) -> AsyncIterator[Bot]:
    """Runs an example until the block ends, in the environment of a profile."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / name,
        *map(str, words),
        env={**like.environment, "PYTHONPATH": str(CHECKOUT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Bot(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(DEADLINE):
            await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


def both_active(seen: Members) -> bool:
    return [member.state for member in seen.members] == ["active", "active"]


def test_each_bot_is_described_on_the_page_of_the_service_api() -> None:
    page = (CHECKOUT / "docs" / "service.md").read_text("utf-8")
    assert {path.name for path in EXAMPLES.glob("*_bot.py")} == BOTS
    assert all(f"examples/{name}" in page for name in BOTS)


def test_echo_bot_answers_each_message_once_also_those_that_came_while_it_was_off(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            await ada.run()
            echo: list[str | Path] = [tmp_path / "echo", "--passphrase-file", stage.secret]
            echo += ["--host", HOST, "--bootstrap", "127.0.0.1:9"]
            async with bot("echo_bot.py", *echo, like=ada) as first:
                assert len((await first.line("phrase")).split()) == 24
                chat = (await ada.ask("contact", "accept", await first.line("invite")))["chat"]
                await ada.node.send(chat, "anybody there?")
                seen = await ada.holds(chat, 2)
                assert [(one.text, one.mine) for one in seen] == [("anybody there?", True), ("anybody there?", False)]
                assert (seen[1].reply_to, seen[1].author_name) == (seen[0].id, "Echo")
                group = (await ada.node.chat_new("Echoes", [seen[1].author])).chat
                await ada.until(lambda: ada.node.chat_members(group), both_active, "the bot in the group")
                await ada.node.send(group, "in a group")
                assert [one.text for one in await ada.holds(group, 2)] == ["in a group"] * 2
            await ada.node.send(chat, "one")
            await ada.node.send(chat, "two")
            async with bot("echo_bot.py", *echo, like=ada) as second:
                await second.line("invite")
                await ada.node.send(chat, "three")
                said = ["anybody there?"] * 2 + ["one", "two", "three"] * 2
                assert sorted(one.text for one in await ada.holds(chat, 8)) == sorted(said)

    asyncio.run(story())


def test_backup_bot_writes_every_chat_and_again_what_changed(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            await ada.run()
            chat = (await ada.node.chats()).chats[0]
            await ada.node.send(chat.id, "first")
            target = tmp_path / "copies"
            async with bot("backup_bot.py", ada.folder, target, "--every", "0", like=ada) as running:
                assert (await running.line("wrote")).endswith(" 1")
                await ada.node.send(chat.id, "second")
                while not (await running.line("wrote")).endswith(" 2"):
                    pass
                (copy,) = target.glob("*.jsonl")
                lines = [json.loads(line) for line in copy.read_text("utf-8").splitlines()]
                assert [line["text"] for line in lines] == ["first", "second"]
                titles = json.loads((target / "chats.json").read_text("utf-8"))["chats"]
                assert [one["id"] for one in titles] == [chat.id]
                await ada.stop()
                async with asyncio.timeout(DEADLINE):
                    assert await running.process.wait() == 1  # the node has ended

            bob = await stage.init("bob")
            there = (await bob.ask("chat", "list"))["chats"][0]["id"]
            assert await bob.ask("import", there, str(copy)) == {"imported": 2, "skipped": 0}

    asyncio.run(story())


def test_backup_bot_without_a_node_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await stage.init("ada")
            async with bot("backup_bot.py", ada.folder, tmp_path / "copies", "--once", like=ada) as told:
                assert await told.process.wait() == 1

    asyncio.run(story())
