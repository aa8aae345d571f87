"""The members of a chat, and the safety number of a direct one."""

from __future__ import annotations

from dataclasses import dataclass

from apps.viewmodels.coalesced import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, initials, one_line, shade
from sync.service import models
from sync.service.api import Service

NOBODY: dict[str, object] = {
    "chosen": "",
    "may_remove": False,
    "may_promote": False,
    "may_demote": False,
    "demotes": False,
    "asks": "",
    "problem": "",
}
"""What the page says while no member is chosen."""
DELETES = (
    "Delete this chat from all of your devices? Everything in it so far goes: texts, drafts and what search finds. "
    "What others hold stays with them, and what is written from now on brings the chat back. You stay in it unless "
    "you leave."
)
RANKS: tuple[models.Role, ...] = ("creator", "admin", "member")
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
    """`notice`: why the chat is not covered, in a sentence.  `number`: the safety number with `contact`, the other
    person of a direct chat.  `chosen`: the member whose row was tapped; `may_remove`, `may_promote` and
    `may_demote`: what I may do about them; `asks`: a question to be answered before it is done, empty for none;
    `deletes`: whether to delete the whole chat from my devices, as such a question."""

    chat: str = ""
    members: tuple[ListedMember, ...] = ()
    contact: str = ""
    notice: str = ""
    number: str = ""
    verified: bool = False
    chosen: str = ""
    may_remove: bool = False
    may_promote: bool = False
    may_demote: bool = False
    demotes: bool = False
    asks: str = ""
    deletes: str = ""
    busy: bool = False
    problem: str = ""


class Members(ViewModel[MembersState]):
    """`load` a chat whenever its page is opened."""

    def __init__(self, service: Service) -> None:
        super().__init__(MembersState())
        self._service = service
        self._reading = Coalesced(self._read)
        self._listed: dict[str, models.Member] = {}
        self._me = ""

    async def load(self, chat: str) -> None:
        """Reads the members of that chat."""
        self._become(chat=chat, members=(), notice="", contact="", number="", verified=False, deletes="")
        self.choose("")
        await self._read()

    async def _read(self) -> None:
        chat = self.state.chat
        with self._working():
            listed = await self._service.chat_members(chat)
            self._me = (await self._service.profile()).identity
            self._listed = {member.id: member for member in listed.members}
            self._become(members=tuple(map(member_of, listed.members)), notice=listed.reason)
            contacts = (await self._service.contacts()).contacts
            other = next((contact for contact in contacts if contact.chat == chat), None)
            if other is not None:
                safety = await self._service.contact_verify(other.id)
                self._become(contact=other.id, number=safety.safety_number, verified=safety.verified)

    def choose(self, id_: str) -> None:
        """A row was tapped: says what may be done about that member.  The same row again, or "", takes it back."""
        member, me = self._listed.get(id_), self._listed.get(self._me)
        if member is None or me is None or id_ in ("", self._me, self.state.chosen) or me.state != "active":
            self._become(**NOBODY)
            return
        rank = RANKS.index(me.role)
        below = rank < 2 and rank < RANKS.index(member.role)
        self._become(
            chosen=id_,
            may_remove=below and member.state in ("active", "invited"),
            may_promote=rank == 0 and member.role == "member" and member.state == "active",
            may_demote=rank == 0 and member.role == "admin" and member.state == "active",
            demotes=False,
            asks="",
            problem="",
        )

    def ask_to_remove(self) -> None:
        """Asks before a member is removed, or an invitation is taken back."""
        member = self._listed.get(self.state.chosen)
        if member is None or not self.state.may_remove:
            return
        name = one_line(member.name, MAX_TITLE)
        asks = f"Remove {name} from this group? They keep what they have, and get nothing that is written from now on."
        self._become(asks=asks if member.state == "active" else f"Take back the invitation of {name}?")

    def ask_to_demote(self) -> None:
        """Asks before an admin is made a member again."""
        member = self._listed.get(self.state.chosen)
        if member is not None and self.state.may_demote:
            name = one_line(member.name, MAX_TITLE)
            asks = f"Make {name} a member again? They are out until one of their devices answers, and miss nothing."
            self._become(asks=asks, demotes=True)

    async def demote(self) -> None:
        """The question was answered by yes."""
        if self.state.asks and self.state.demotes:
            with self._working():
                await self._service.chat_demote(self.state.chat, self.state.chosen)
                self.choose("")
            await self._read()

    async def remove(self) -> None:
        """The question was answered by yes."""
        if self.state.asks and not self.state.demotes:
            with self._working():
                await self._service.chat_remove(self.state.chat, self.state.chosen)
                self.choose("")
            await self._read()

    async def promote(self) -> None:
        """Makes the chosen member an admin."""
        if self.state.may_promote:
            with self._working():
                await self._service.chat_admin(self.state.chat, self.state.chosen)
                self.choose("")
            await self._read()

    def ask_to_delete(self, asked: bool) -> None:
        """Asks before the chat is deleted from my devices, or takes the question back."""
        self._become(deletes=DELETES if asked else "")

    async def delete_chat(self) -> bool:
        """The question was answered by yes.  Whether the chat is gone."""
        if not self.state.deletes:
            return False
        with self._working():
            await self._service.delete_chat(self.state.chat)
            self._become(deletes="")
        return not self.state.problem

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
