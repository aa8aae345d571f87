"""A new group: its title and whom to invite."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, initials, one_line, shade
from sync.service.api import KithkinError, Service


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    name: str
    initials: str
    shade: int
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class NewGroupState:
    people: tuple[Person, ...] = ()
    busy: bool = False
    problem: str = ""


class NewGroup(ViewModel[NewGroupState]):
    def __init__(self, service: Service, made: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(NewGroupState())
        self._service = service
        self._made = made
        self._loading: asyncio.Task[None] | None = None
        self._done = False

    async def load(self) -> None:
        """For another group."""
        self._done = False
        await self._read()

    async def _read(self) -> None:
        # Not busy meanwhile: a contact may change at any moment, and "Create" is to be heard then too.
        try:
            contacts = (await self._service.contacts()).contacts
        except KithkinError as error:
            self._become(problem=error.message)
            return
        chosen = {person.id for person in self.state.people if person.chosen}
        able = [c for c in contacts if c.state == "active" and not c.blocked]
        people = tuple(
            Person(c.id, one_line(c.name, MAX_TITLE), initials(c.name), shade(c.name), c.id in chosen)
            for c in sorted(able, key=lambda contact: contact.name.casefold())
        )
        self._become(people=people, problem="")

    def touched(self) -> None:
        """A contact changed; who is looking at the list sees it."""
        if self.state.people:
            self._loading = asyncio.get_running_loop().create_task(self._read())

    def toggle(self, id_: str) -> None:
        people = self.state.people
        self._become(people=tuple(replace(p, chosen=not p.chosen) if p.id == id_ else p for p in people), problem="")

    async def create(self, title: str) -> None:
        # A group is made at once, before the window could take the button away: a second press comes too late.
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
            await self._made(chat)
