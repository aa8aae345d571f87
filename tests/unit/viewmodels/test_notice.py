"""The chat page and the page of its members say in a sentence why a chat is not covered."""

from __future__ import annotations

import asyncio
from typing import cast

from apps.viewmodels.chat import Chat
from apps.viewmodels.members import Members
from sync.service import models
from sync.service.api import Service
from tests.unit.viewmodels.scripted import AT, CHAT, ScriptedService

WHY = "A recording of this chat could be read by a quantum computer one day: a device of Bob lacks the newer keys."


class Uncovered(ScriptedService):
    """A chat with somebody whose device lacks the newer keys, as long as `reason` says so."""

    reason = WHY

    def chat(self) -> models.Chat:
        return super().chat().model_copy(update={"covered": not self.reason, "reason": self.reason})

    async def chat_members(self, chat: str) -> models.Members:
        bob = models.Member(id="id_bob", name="Bob", role="member", state="active", covered=not self.reason)
        return models.Members(members=[bob], covered=not self.reason, reason=self.reason)

    async def contacts(self) -> models.Contacts:
        return models.Contacts(contacts=[])


def test_the_chat_page_says_who_is_the_reason_until_nobody_is() -> None:
    async def story() -> None:
        service = Uncovered()
        chat = Chat(service.face, CHAT, lambda: AT)
        await chat.open()
        assert chat.state.notice == WHY
        service.reason = ""
        chat.changed(service.chat())
        assert chat.state.notice == ""
        await chat.settled()
        chat.close()

    asyncio.run(story())


def test_the_members_page_says_it_too() -> None:
    async def story() -> None:
        members = Members(cast(Service, Uncovered()))
        await members.load(CHAT)
        assert members.state.notice == WHY and [one.name for one in members.state.members] == ["Bob"]
        members.close()

    asyncio.run(story())
