"""One message by its shown id: found in the chat that is named, or in any, and never once it is hidden."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from identity.errors import KithkinError
from tests.unit.service.offline import OfflineService, offline_service


async def refusal(offline: OfflineService, id: str, chat: str | None = None) -> str:
    with pytest.raises(KithkinError) as refused:
        await offline.service.message(id, chat=chat)
    return refused.value.code


def test_message_by_id_is_the_one_that_read_lists(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "one message") as d:
            first = await d.service.send(d.notes, "hello")
            await d.service.send(d.notes, "a reply", reply=first.id)
            (listed, reply) = (await d.service.read(d.notes)).messages
            assert reply.reply_to == first.id
            assert await d.service.message(first.id) == await d.service.message(first.id, chat=d.notes) == listed

    asyncio.run(story())


def test_message_by_id_shows_edits_and_deletion(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "changed message") as d:
            sent = await d.service.send(d.notes, "hello")
            await d.service.edit(d.notes, sent.id, "good evening")
            edited = await d.service.message(sent.id)
            assert (edited.text, edited.edited) == ("good evening", True)
            await d.service.delete(d.notes, sent.id, everyone=True)
            deleted = await d.service.message(sent.id)
            assert (deleted.text, deleted.deleted) == ("", True)

    asyncio.run(story())


def test_message_by_id_stays_in_the_named_chat(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "two chats") as d:
            sent = await d.service.send(d.notes, "hello")
            group = await d.service.chat_new("Trip")
            assert await refusal(d, sent.id, group.chat) == "not_found"
            assert (await d.service.message(sent.id, chat=d.notes)).text == "hello"

    asyncio.run(story())


def test_message_by_id_refuses_unknown_hidden_and_malformed_ids(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "no message") as d:
            sent = await d.service.send(d.notes, "hello")
            await d.service.delete(d.notes, sent.id)
            unknown = sent.id[:-4] + ("aaaa" if not sent.id.endswith("aaaa") else "bbbb")
            assert [await refusal(d, id) for id in (sent.id, unknown, d.notes, "", "msg_?")] == ["not_found"] * 5
            assert await refusal(d, sent.id, "chat_nowhere") == "not_found"

    asyncio.run(story())


def test_order_of_messages_sorts_as_read_lists_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "order") as d:
            (empty,) = (await d.service.chats()).chats
            assert empty.last_order == ""
            for number in range(5):
                await d.service.send(d.notes, f"line {number}")
            listed = (await d.service.read(d.notes)).messages
            orders = [message.order for message in listed]
            assert orders == sorted(set(orders)) and len(orders) == 5
            (chat,) = (await d.service.chats()).chats
            assert chat.last_order == orders[-1]

    asyncio.run(story())
