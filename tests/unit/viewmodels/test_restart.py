"""Restarts and demotions as windows show them: a sentence, a question, and only then the deed."""

from __future__ import annotations

import asyncio
from typing import Any

from apps.viewmodels.chat import GO_ON, INVITED, RESTARTS, Chat
from apps.viewmodels.chats import Chats
from apps.viewmodels.members import Members
from sync.service import models
from tests.unit.viewmodels.scripted import AT, BEN, CHAT, ME, ScriptedService

LOST = "The devices with which Ada made this group are lost."
ASKED = "Bob wants to go on with this chat in a new group, without Cem."


class Group(ScriptedService):
    """A group, and perhaps an invitation to go on with it elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: dict[str, Any] = {}
        self.others: list[models.Chat] = []
        self.role: models.Role = "admin"

    def chat(self) -> models.Chat:
        return super().chat().model_copy(update=self.changes)

    def invited(self) -> models.Chat:
        asks = {"id": "chat_b", "state": "invited", "notice": ASKED, "old": CHAT}
        return super().chat().model_copy(update=asks)

    async def chats(self) -> models.Chats:
        self.calls.append("chats")
        return models.Chats(chats=[self.chat(), *self.others])

    async def chat_restart(self, chat: str, without: tuple[str, ...] = ()) -> models.Restarted:
        self.calls.append(f"restart {chat}")
        self.changes = {}
        return models.Restarted(chat=chat)

    async def chat_join(self, chat: str) -> models.ChatRef:
        self.calls.append(f"join {chat}")
        self.others = []
        return models.ChatRef(chat=CHAT)

    async def chat_members(self, chat: str) -> models.Members:
        return models.Members(
            members=[
                models.Member(id=ME, name="Me", role="creator", state="active"),
                models.Member(id=BEN, name="Ben", role=self.role, state="active"),
            ]
        )

    async def contacts(self) -> models.Contacts:
        return models.Contacts(contacts=[])

    async def chat_demote(self, chat: str, contact: str) -> models.ChatRef:
        self.calls.append(f"demote {contact}")
        self.role = "member"
        return models.ChatRef(chat=chat)

    async def chat_remove(self, chat: str, contact: str) -> models.ChatRef:
        self.calls.append(f"remove {contact}")
        return models.ChatRef(chat=chat)


async def opened(service: Group, id_: str = CHAT) -> Chat:
    chat = Chat(service.face, id_, lambda: AT)
    await chat.open()
    await chat.settled()
    service.calls.clear()
    return chat


def test_a_group_that_lost_its_creator_is_restarted_after_a_question() -> None:
    async def story() -> None:
        service = Group()
        service.changes = {"notice": LOST, "may_restart": True}
        chat = await opened(service)
        assert (chat.state.notice, chat.state.may_restart, chat.state.asks) == (LOST, True, "")
        await chat.restart()
        assert service.calls == []
        chat.ask_to_restart()
        assert chat.state.asks == RESTARTS
        chat.keep_as_it_is()
        assert chat.state.asks == ""
        chat.ask_to_restart()
        await chat.restart()
        assert service.calls == [f"restart {CHAT}"] and not chat.state.may_restart and chat.state.asks == ""
        chat.ask_to_restart()
        assert chat.state.asks == ""

    asyncio.run(story())


def test_an_invitation_to_go_on_elsewhere_says_who_is_left_out_and_leads_to_the_chat_it_belongs_to() -> None:
    async def story() -> None:
        service = Group()
        service.others = [service.invited()]
        chats = Chats(service.face, lambda: AT)
        await chats.load()
        assert [row.id for row in chats.state.rows] == ["chat_b", CHAT]
        asked = await opened(service, "chat_b")
        assert asked.state.invitation == f"{ASKED} {GO_ON}" and asked.state.notice == ""
        assert await asked.join() == CHAT
        chats.take(models.ChatEvent(chat=service.chat()))
        await chats.settled()
        assert [row.id for row in chats.state.rows] == [CHAT]
        assert (await opened(service)).state.invitation == INVITED

    asyncio.run(story())


def test_an_admin_is_made_a_member_again_after_a_question() -> None:
    async def story() -> None:
        service = Group()
        page = Members(service.face)
        await page.load(CHAT)
        page.choose(BEN)
        assert (page.state.may_remove, page.state.may_promote, page.state.may_demote) == (True, False, True)
        await page.demote()
        assert "demote id_ben" not in service.calls
        page.ask_to_remove()
        await page.demote()
        assert "demote id_ben" not in service.calls, "the question was another one"
        page.choose("")
        page.choose(BEN)
        page.ask_to_demote()
        assert page.state.asks.startswith("Make Ben a member again?")
        await page.remove()
        assert "remove id_ben" not in service.calls
        await page.demote()
        assert "demote id_ben" in service.calls and page.state.chosen == ""
        page.choose(BEN)
        assert (page.state.may_promote, page.state.may_demote) == (True, False)

    asyncio.run(story())
