"""The members of a chat, and the safety number of a direct one."""

from __future__ import annotations

from dataclasses import dataclass

from apps.viewmodels.coalesced import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, initials, one_line, shade
from sync.service import models
from sync.service.api import Service

WORDS: dict[models.MemberState, str] = {
    "invited": "invited, not joined yet",
    "active": "",
    "left": "has left",
    "removed": "was removed",
}


@dataclass(frozen=True, slots=True)
class ListedMember:
    """One row.  `about`: role and state in words."""

    id: str
    name: str
    initials: str
    shade: int
    about: str


@dataclass(frozen=True, slots=True)
class MembersState:
    """`notice`: why the chat is not covered, in a sentence. `number`: the safety number with `contact`, the other
    person of a direct chat."""

    chat: str = ""
    members: tuple[ListedMember, ...] = ()
    contact: str = ""
    notice: str = ""
    number: str = ""
    verified: bool = False
    busy: bool = False
    problem: str = ""


class Members(ViewModel[MembersState]):
    """`load` a chat whenever its page is opened."""

    def __init__(self, service: Service) -> None:
        super().__init__(MembersState())
        self._service = service
        self._reading = Coalesced(self._read)

    async def load(self, chat: str) -> None:
        """Reads the members of that chat."""
        self._become(chat=chat, members=(), notice="", contact="", number="", verified=False)
        await self._read()

    async def _read(self) -> None:
        chat = self.state.chat
        with self._working():
            listed = await self._service.chat_members(chat)
            self._become(members=tuple(map(member_of, listed.members)), notice=listed.reason)
            contacts = (await self._service.contacts()).contacts
            other = next((contact for contact in contacts if contact.chat == chat), None)
            if other is not None:
                safety = await self._service.contact_verify(other.id)
                self._become(contact=other.id, number=safety.safety_number, verified=safety.verified)

    def touched(self, chat: str) -> None:
        """Something about a chat changed that its event does not carry: roles, names, members."""
        if chat == self.state.chat:
            self._reading.ask()

    def close(self) -> None:
        """Ends what is under way."""
        self._reading.close()

    async def confirm(self) -> None:
        """Marks the contact as verified: both people compared the numbers, and they match."""
        if self.state.contact and not self.state.verified:
            with self._working():
                safety = await self._service.contact_verify(self.state.contact, confirm=True)
                self._become(verified=safety.verified)


def member_of(member: models.Member) -> ListedMember:
    name = one_line(member.name, MAX_TITLE)
    about = ", ".join(word for word in (member.role if member.role != "member" else "", WORDS[member.state]) if word)
    # Who is not proved has no picture of its own: it would be that of the person whose name it uses.
    picture = initials(name) if member.proved else "?"
    return ListedMember(member.id, name, picture, shade(name), about)
