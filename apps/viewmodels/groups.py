"""A new group: its title and the contacts to invite."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from apps.viewmodels.coalesced import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, initials, one_line, shade
from sync.service import models
from sync.service.api import KithkinError, Service


@dataclass(frozen=True, slots=True)
class Invitee:
    """One row: a contact, and whether it is chosen."""

    id: str
    name: str
    initials: str
    shade: int
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class NewGroupState:
    """`people`: the contacts that may be invited."""

    people: tuple[Invitee, ...] = ()
    busy: bool = False
    problem: str = ""


class NewGroup(ViewModel[NewGroupState]):
    """`load`, `toggle` people, `create`; `created(chat)` is called with the new group."""

    def __init__(self, service: Service, created: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(NewGroupState())
        self._service = service
        self._created = created
        self._contacts: dict[str, models.Contact] = {}
        self._loaded = False
        self._reading = Coalesced(self._read)
        self._done = False

    async def load(self) -> None:
        """Reads whom one may invite, for another group."""
        self._done = False
        await self._read()

    async def _read(self) -> None:
        # Not busy meanwhile: events may be lost at any moment, and "Create" must work then too.
        try:
            contacts = (await self._service.contacts()).contacts
        except KithkinError as error:
            self._become(problem=error.message)
            return
        self._contacts, self._loaded = {contact.id: contact for contact in contacts}, True
        self._draw()

    def _draw(self) -> None:
        chosen = {person.id for person in self.state.people if person.chosen}
        able = [c for c in self._contacts.values() if c.state == "active" and not c.blocked]
        people = tuple(
            Invitee(c.id, one_line(c.name, MAX_TITLE), initials(c.name), shade(c.name), c.id in chosen)
            for c in sorted(able, key=lambda contact: contact.name.casefold())
        )
        self._become(people=people, problem="")

    def contact(self, contact: models.Contact) -> None:
        """A contact is new or has changed."""
        if self._loaded:
            self._contacts[contact.id] = contact
            self._draw()

    def reload(self) -> None:
        """Reads the contacts again soon, if they are shown."""
        if self._loaded:
            self._reading.ask()

    def close(self) -> None:
        """Ends what is under way."""
        self._reading.close()

    def toggle(self, id_: str) -> None:
        """Chooses a person, or takes the choice back."""
        people = self.state.people
        self._become(people=tuple(replace(p, chosen=not p.chosen) if p.id == id_ else p for p in people), problem="")

    async def create(self, title: str) -> None:
        """Creates the group and invites the contacts that are chosen."""
        # A group is made at once, before the window can disable the button: a second press must do nothing.
        if self.state.busy or self._done:
            return
        chat = ""
        with self._working():
            if not title.strip():
                raise KithkinError("empty_text", "Give the group a title.")
            chosen = [person.id for person in self.state.people if person.chosen]
            chat = (await self._service.chat_new(title, chosen)).chat
            self._done = True
            self._become(people=tuple(replace(person, chosen=False) for person in self.state.people))
        if chat:
            await self._created(chat)
