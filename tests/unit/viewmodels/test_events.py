"""What events cost: a view-model puts what it was told in its place, and reads again only where events are missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from apps.viewmodels.chat import MAX_QUOTES, PAGE, UNAVAILABLE, Chat
from apps.viewmodels.chats import Chats, with_message
from apps.viewmodels.session import Session
from sync.service import models, node
from sync.service.api import Service
from tests.unit.service.offline import OfflineService, offline_service
from tests.unit.viewmodels.scripted import AT, CHAT, ScriptedService, came, message, opened, shown
from tests.unit.viewmodels.stage import until

# ---- one chat


def test_events_about_messages_cause_no_read() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(5)))
        chat = await opened(service)
        for number in range(5, 105):
            chat.take(came(message(number)))
        chat.take(came(message(3, "edited", edited=True), new=False))
        chat.take(models.StatusEvent(chat=CHAT, id="msg_4", state="read", delivered=1, devices=1))
        chat.take(models.GoneEvent(chat=CHAT, id="msg_0"))
        await chat.settled()
        assert shown(chat) == ["line 1", "line 2", "edited", *(f"line {number}" for number in range(4, 105))]
        assert chat.state.bubbles[3].state == "read"
        assert service.calls == []

    asyncio.run(story())


def test_events_that_come_together_are_drawn_once() -> None:
    async def story() -> None:
        chat = await opened(ScriptedService())
        drawn: list[int] = []
        chat.watch(lambda: drawn.append(len(chat.state.bubbles)))
        for number in range(50):
            chat.take(came(message(number)))
        await chat.settled()
        assert drawn == [50]

    asyncio.run(story())


def test_gap_at_the_end_of_a_chat_causes_exactly_one_read() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(5)))
        chat = await opened(service)
        service.messages = [message(0), message(1, "edited"), *map(message, range(3, 20))]  # and 2 is gone
        chat.gap()
        chat.gap()
        await chat.settled()
        assert shown(chat) == [held.text for held in service.messages]
        assert service.calls == ["read"]

    asyncio.run(story())


def test_gap_far_up_in_a_chat_causes_one_read_and_keeps_the_place() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(500)))
        chat = await opened(service)
        await chat.open("msg_100")
        before = shown(chat)
        service.calls.clear()
        service.messages[110] = message(110, "edited")
        chat.gap()
        await chat.settled()
        # The first one is read when somebody scrolls there, with what may have come before it.
        assert shown(chat) == ["edited" if text == "line 110" else text for text in before[1:]]
        assert (service.calls, chat.state.older, chat.state.newer) == (["read"], True, True)

    asyncio.run(story())


class Hiding(ScriptedService):
    """A hidden message can still be read from, and is on no page."""

    hidden = ""

    async def read(
        self, chat: str, *, limit: int = 50, before: str | None = None, after: str | None = None
    ) -> models.Messages:
        page = await super().read(chat, limit=limit, before=before, after=after)
        return page.model_copy(update={"messages": [held for held in page.messages if held.id != self.hidden]})


async def in_the_middle(service: ScriptedService) -> tuple[Chat, models.Message]:
    """The chat at a message far up, and the first message that is loaded there."""
    chat = await opened(service)
    await chat.open("msg_100")
    return chat, next(held for held in service.messages if held.text == shown(chat)[0])


async def scroll_to_the_top(chat: Chat) -> None:
    while chat.state.older:
        await chat.load_older()


def test_gap_leaves_no_first_message_that_was_deleted_meanwhile() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(500)))
        chat, first = await in_the_middle(service)
        place = service.messages.index(first)
        service.messages[place] = first.model_copy(update={"text": "", "deleted": True})
        chat.gap()
        await chat.settled()
        assert first.text not in shown(chat)
        await chat.load_older()
        assert shown(chat)[:PAGE][-1] == "This message was deleted"

    asyncio.run(story())


def test_gap_leaves_no_first_message_that_was_hidden_meanwhile() -> None:
    async def story() -> None:
        service = Hiding(*map(message, range(500)))
        chat, first = await in_the_middle(service)
        service.hidden = first.id
        chat.gap()
        await chat.settled()
        await chat.load_older()
        assert first.text not in shown(chat)

    asyncio.run(story())


def test_message_that_came_before_the_first_one_during_a_gap_can_be_scrolled_to() -> None:
    """The first that is loaded was the first of the chat."""

    async def story() -> None:
        service = ScriptedService(*map(message, range(1, 500)))
        chat, _ = await in_the_middle(service)
        await scroll_to_the_top(chat)
        assert chat.state.newer and shown(chat)[0] == "line 1"
        service.messages.insert(0, message(0))
        chat.gap()
        await chat.settled()
        await scroll_to_the_top(chat)
        assert shown(chat)[:2] == ["line 0", "line 1"]

    asyncio.run(story())


def test_gap_that_took_the_first_loaded_message_leads_to_the_newest() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(500)))
        chat = await opened(service)
        await chat.open("msg_100")
        service.messages = service.messages[300:]
        chat.gap()
        await chat.settled()
        assert shown(chat) == [f"line {number}" for number in range(500 - PAGE, 500)]

    asyncio.run(story())


def test_message_of_a_part_that_is_not_loaded_is_left_out_until_somebody_scrolls_there() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(0, 1000, 2)))
        chat = await opened(service)
        service.messages.insert(3, message(5))
        chat.take(came(message(5)))
        await chat.settled()
        assert "line 5" not in shown(chat) and service.calls == []
        for _ in range(3):
            await chat.load_older()
        assert shown(chat) == [held.text for held in service.messages[-4 * PAGE :]]

    asyncio.run(story())


def test_late_message_is_inserted_between_those_that_are_loaded() -> None:
    async def story() -> None:
        service = ScriptedService(message(1), message(3))
        chat = await opened(service)
        chat.take(came(message(2, late=True)))
        await chat.settled()
        assert (shown(chat), chat.state.bubbles[1].note) == (["line 1", "line 2", "line 3"], "arrived late")
        assert service.calls == []

    asyncio.run(story())


def test_event_during_a_read_is_newer_than_the_page_that_is_read() -> None:
    async def story() -> None:
        service = ScriptedService(message(1), message(2), message(3))
        chat = await opened(service)
        service.hold()
        chat.gap()
        await until(lambda: service.calls == ["read"])
        chat.take(came(message(2, "edited"), new=False))
        chat.take(came(message(4)))
        chat.take(models.GoneEvent(chat=CHAT, id="msg_1"))
        service.release()
        await chat.settled()
        assert shown(chat) == ["edited", "line 3", "line 4"]

    asyncio.run(story())


def test_chat_whose_loaded_messages_have_all_gone_reads_those_before_them_once() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(100)))
        chat = await opened(service)
        gone = service.messages[-PAGE:]
        service.messages = service.messages[:-PAGE]
        for one in gone:
            chat.take(models.GoneEvent(chat=CHAT, id=one.id))
        await chat.settled()
        assert shown(chat) == [held.text for held in service.messages]
        assert service.calls == ["read"]

    asyncio.run(story())


@pytest.mark.parametrize(("members", "reads"), [(2, []), (3, ["read"])])
def test_chat_event_causes_a_read_only_when_members_change(members: int, reads: list[str]) -> None:
    async def story() -> None:
        service = ScriptedService(message(1))
        chat = await opened(service)
        service.members = members
        for _ in range(5):
            chat.changed(service.chat())
        await chat.settled()
        assert (service.calls, chat.state.subtitle) == (reads, f"{members} members")

    asyncio.run(story())


# ---- quotes


def test_quote_that_is_loaded_costs_nothing_and_follows_its_message() -> None:
    async def story() -> None:
        service = ScriptedService(message(1), message(2, reply_to="msg_1"))
        chat = await opened(service)
        chat.take(came(message(1, "edited"), new=False))
        await chat.settled()
        quote = chat.state.bubbles[1].quote
        assert quote is not None and (quote.author, quote.text) == ("Ben", "edited")
        assert service.calls == []

    asyncio.run(story())


def test_quote_that_is_not_loaded_costs_one_call_and_follows_its_message() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(300)))
        chat = await opened(service)
        seen = []
        chat.take(came(message(300, reply_to="msg_7")))
        chat.take(came(message(301, reply_to="msg_7")))
        await chat.settled()
        seen.append(chat.state.bubbles[-1].quote)
        chat.take(came(message(7, "edited"), new=False))
        await chat.settled()
        seen.append(chat.state.bubbles[-1].quote)
        chat.take(models.GoneEvent(chat=CHAT, id="msg_7"))
        await chat.settled()
        seen.append(chat.state.bubbles[-2].quote)
        assert [quote.text for quote in seen if quote is not None] == ["line 7", "edited", UNAVAILABLE.text]
        assert service.calls == ["message"]

    asyncio.run(story())


def test_quotes_of_many_replies_are_bounded_and_each_is_read_once_while_shown() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(1200)))
        chat = await opened(service)
        for number in range(2 * MAX_QUOTES):
            chat.take(came(message(1200 + number, reply_to=f"msg_{number}")))
            if number % 100 == 99:
                await chat.settled()
        assert all(bubble.quote is not None for bubble in chat.state.bubbles)
        assert service.calls.count("message") == 2 * MAX_QUOTES
        assert len(chat._quotes) <= MAX_QUOTES

    asyncio.run(story())


def test_quote_of_a_chat_that_is_not_shown_is_read_again_after_a_gap() -> None:
    async def story() -> None:
        service = ScriptedService(*map(message, range(200)), message(200, reply_to="msg_1"))
        session = Session(service.face, lambda problem: None)
        chat = session.chat(CHAT)
        await chat.open()
        await chat.settled()
        seen = [chat.state.bubbles[-1].quote]
        service.messages[1] = message(1, "edited")
        session.take(models.GapEvent())
        await chat.open()
        await chat.settled()
        seen.append(chat.state.bubbles[-1].quote)
        assert [quote.text for quote in seen if quote is not None] == ["line 1", "edited"]
        await session.stop()

    asyncio.run(story())


# ---- the list


async def listed(service: ScriptedService) -> Chats:
    chats = Chats(service.face, lambda: AT)
    await chats.load()
    service.calls.clear()
    return chats


def test_list_adds_up_messages_without_reading() -> None:
    async def story() -> None:
        service = ScriptedService(message(1))
        chats = await listed(service)
        told = [message(2), message(3, mine=True), message(4), message(4, "edited")]
        service.messages += [told[0], told[1], told[3]]
        for one, new in zip(told, (True, True, True, False), strict=True):
            chats.take(came(one, new=new))
        await chats.settled()
        (row,) = chats.state.rows
        assert (row.badge, row.preview) == ("3", "Ben: edited")
        assert chats.get(CHAT) == service.chat()
        assert service.calls == []

    asyncio.run(story())


def test_list_counts_no_message_twice_that_was_read_before_its_event_came() -> None:
    async def story() -> None:
        service = ScriptedService(message(1), message(2), message(3))
        chats = await listed(service)
        for number in (1, 2, 3):
            chats.take(came(message(number)))
        await chats.settled()
        assert chats.get(CHAT) == service.chat()
        assert service.calls == ["chats"]  # for the first two: they may have come late, below the newest

    asyncio.run(story())


@pytest.mark.parametrize(
    ("told", "new", "known"),
    [
        (message(3, unread=False), True, True),  # read on another device
        (message(3), True, False),  # late, and unread: is it counted already?
        (message(9, mine=True), True, True),
        (message(7), True, True),  # the newest that is known
        (message(6), True, False),  # late: is it counted already?
        (message(6, "edited"), False, True),
        (message(6, deleted=True), False, False),  # it may have been counted
        (message(2, deleted=True, unread=False), False, True),
        (message(8), False, False),  # shown again
    ],
)
def test_list_reads_again_only_where_an_event_does_not_say_what_is_unread(
    told: models.Message, new: bool, known: bool
) -> None:
    service = ScriptedService(message(7))
    assert (with_message(service.chat(), told, new) is not None) == known


def test_list_takes_a_chat_event_as_it_is_and_reads_where_a_chat_is_new_or_emptied() -> None:
    async def story() -> None:
        service = ScriptedService(message(1))
        chats = await listed(service)
        service.messages = [message(1, unread=False)]
        chats.take(models.ChatEvent(chat=service.chat()))
        await chats.settled()
        assert ([row.badge for row in chats.state.rows], service.calls) == ([""], [])
        for changed in ({"id": "chat_b"}, {"last": None}, {"state": "left"}):
            chats.take(models.ChatEvent(chat=service.chat().model_copy(update=changed)))
            await chats.settled()
        assert service.calls == ["chats"] * 3

    asyncio.run(story())


# ---- an opened profile


class Counting:
    """A real service whose calls are counted."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._service, name)


@asynccontextmanager
async def session_of(d: OfflineService) -> AsyncIterator[tuple[Session, Counting]]:
    """A session that shows the notes; its calls are counted from then on."""
    counting = Counting(d.service)
    session = Session(cast(Service, counting), lambda problem: None)
    await session.start()
    await session.show_chat(d.notes)
    await session.chat(d.notes).settled()
    counting.calls.clear()
    try:
        yield session, counting
    finally:
        await session.stop()


def test_session_follows_an_engine_without_reading(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "events") as d, session_of(d) as (session, counting):
            chat = session.chat(d.notes)
            for number in range(30):
                await d.service.send(d.notes, f"line {number}")
            sent = (await d.service.read(d.notes)).messages
            await d.service.edit(d.notes, sent[3].id, "edited")
            await d.service.react(d.notes, sent[4].id, "👍")
            await d.service.delete(d.notes, sent[5].id, everyone=True)
            texts = [f"line {number}" for number in range(30)]
            texts[3], texts[5] = "edited", "This message was deleted"
            await until(lambda: shown(chat) == texts and bool(chat.state.bubbles[4].reactions))
            await until(lambda: session.chats.state.rows[0].preview == "line 29")
            assert counting.calls == []
            assert session.chats.get(d.notes) == (await d.service.chats()).chats[0]

    asyncio.run(story())


def test_message_hidden_elsewhere_disappears_without_reading_the_chat(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "hidden") as d, session_of(d) as (session, counting):
            chat = session.chat(d.notes)
            for number in range(3):
                await d.service.send(d.notes, f"line {number}")
            await until(lambda: len(shown(chat)) == 3)
            await d.service.delete(d.notes, chat.state.bubbles[2].id)
            await until(lambda: shown(chat) == ["line 0", "line 1"])
            await until(lambda: session.chats.state.rows[0].preview == "line 1")
            assert "read" not in counting.calls

    asyncio.run(story())


def test_session_that_was_too_slow_reads_exactly_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "MAX_EVENTS", 10)

    async def story() -> None:
        async with offline_service(tmp_path, "gap") as d, session_of(d) as (session, counting):
            chat = session.chat(d.notes)
            for number in range(50):  # nothing here waits, so the session takes no event in between
                await d.service.send(d.notes, f"line {number}")
            await until(lambda: shown(chat) == [f"line {number}" for number in range(50)])
            await session.chats.settled()
            assert (counting.calls.count("read"), counting.calls.count("chats")) == (1, 1)
            assert session.chats.get(d.notes) == (await d.service.chats()).chats[0]

    asyncio.run(story())


def test_session_takes_contacts_and_devices_from_their_events(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "contacts") as d:
            session = Session(d.service, lambda problem: None)
            await session.start()
            await session.group.load()
            ben = models.Contact(id="id_ben", name="Ben", state="active", verified=False, blocked=False)
            session.take(models.ContactEvent(contact=ben))
            session.take(models.ContactEvent(contact=ben.model_copy(update={"name": "Benjamin"})))
            assert [person.name for person in session.group.state.people] == ["Benjamin"]
            (own,) = (await d.service.devices()).devices
            other = own.model_copy(update={"id": "dev_other", "name": "tablet", "this": False})
            session.take(models.DeviceEvent(device=other, notice='A new device was linked: "tablet"'))
            assert [device.name for device in session.devices.state.devices] == [own.name, "tablet"]
            await session.stop()

    asyncio.run(story())


def test_devices_that_are_out_are_shown_so_while_they_are_connected_and_on_themselves(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "out") as d:
            session = Session(d.service, lambda problem: None)
            await session.start()
            await session.devices.load()
            (own,) = (await d.service.devices()).devices
            lost = own.model_copy(update={"id": "dev_other", "name": "tablet", "this": False, "state": "revoked"})
            peer = models.Peer(device="dev_other", identity="id_me", name="Ada", address="")
            session.devices.peer(peer, True)
            session.devices.changed(lost, "")
            assert [device.about for device in session.devices.state.devices] == ["This device", "Shut out"]
            assert session.devices.state.network == "Connected"
            session.devices.changed(own.model_copy(update={"state": "revoked"}), "")
            assert session.devices.state.network == "This device was shut out"
            await session.stop()

    asyncio.run(story())
