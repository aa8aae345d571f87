"""Two persons with three devices each whose clocks are wrong by up to ten years and set back and forth, for days.

What a person does last, knowing what was done before, counts on every device, whatever any clock said; what is read,
unread and deleted follows from what was there; rows stand where `docs/protocol.md`, "Rows", says.  One seed is one run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from crdt.docs.marks import reactions
from crdt.docs.rows import AHEAD_MS, Row
from crdt.log.stamp import stamp_ms
from sync.service import messages
from sync.service.ids import chat_id, identity_id, message_id
from sync.service.names import told_profiles
from sync.space import timeline
from sync.space.space import Space
from tests.support.device import Device
from tests.support.world import World

YEAR = 365 * 86_400.0
SKEWS = (0.0, 0.0, 240.0, -240.0, 3_000.0, -3_000.0, 86_400.0, -86_400.0, YEAR, -YEAR, 10 * YEAR, -10 * YEAR)
EMOJI = ("\N{THUMBS UP SIGN}", "\N{PARTY POPPER}")


@dataclass
class Said:
    """A message as it has to show: its author's name, its text, who put what on it."""

    author: str
    text: str
    on: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Person:
    """What one person decided, in the order in which it was decided."""

    name: str
    devices: tuple[Device, ...]
    calls: str = ""  # the other
    profile: str = ""
    read: set[str] = field(default_factory=set)  # message ids
    gone: set[str] = field(default_factory=set)  # deleted for this person alone


class Clocks:
    """One run.  `step` sets a clock, lets somebody do something, and looks at every device."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World(f"clocks {seed}")
        ada, bob = self.world.linked("Ada", devices=3), self.world.linked("Bob", devices=3)
        self.world.friends(ada[0], bob[0])
        self.people = (Person("Ada", ada, profile="Ada"), Person("Bob", bob, profile="Bob"))
        self.said: dict[str, Said] = {}
        self.story: list[str] = []
        self.world.settle()
        self.sleep(0.01)  # until nobody is a newcomer

    @property
    def devices(self) -> list[Device]:
        return [device for person in self.people for device in person.devices]

    def other(self, person: Person) -> Person:
        return self.people[0] if person is self.people[1] else self.people[1]

    # -- what happens -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """A clock or two, a deed, and a look."""
        for _ in range(self.rng.randrange(1, 3)):
            self.set_clock(self.rng.choice(self.devices), self.rng.choice(SKEWS))
        if self.rng.random() < 0.15:
            self.sleep(self.rng.choice((0.2, 1.0, 3.0)))
        self.world.settle()
        person = self.rng.choice(self.people)
        often = [self.send] * 4 + [self.mark] * 2
        deed = self.rng.choice(
            [*often, self.rename, self.block, self.call_itself, self.edit, self.react, self.delete_chat, self.hide]
        )
        deed(person, self.rng.choice(person.devices))
        self.world.settle()
        self.look()

    def set_clock(self, device: Device, skew: float) -> None:
        """The device's clock says something else from now on: while it runs, or while it is off."""
        self.story.append(f"{device} {device.skew:+.0f} -> {skew:+.0f}")
        if self.rng.random() < 0.5:
            device.stop()
            device.skew = skew
            device.boot()
        else:
            device.skew = skew
            device.wake()

    def sleep(self, days: float) -> None:
        self.story.append(f"all sleep {days} days")
        for device in self.devices:
            device.stop()
        self.world.sleep(days)
        for device in self.devices:
            device.boot()

    def send(self, person: Person, device: Device) -> None:
        text = f"{len(self.said)} of {person.name}"
        newest = {one: self.page(one)[-1:] for one in self.devices}
        unread = {one: self.unread(one) for one in self.devices}
        id_ = device.send(self.other(person).devices[0].owner, text)
        self.said[id_] = Said(person.name, text)
        self.story.append(f"{device} sends {text}")
        self.world.settle()
        for one in self.devices:
            row = self.row(one, id_)
            space = self.chat(one)
            now_ms = int(one.now * 1000)
            # Behind the newest of before, where its stamp does not say that it was written earlier than that.
            before = self.row(one, message_id(newest[one][0].id)) if newest[one] else row
            if before is not row and (row.placed is not None or before.stands < stamp_ms(row.stamp)):
                after = messages.page(one.engine.profile, space, 50, None, message_id(newest[one][0].id), now_ms)
                assert id_ in [message.id for message in after.messages], (one, "wait", self.story)
            if one not in person.devices:
                assert self.unread(one) == unread[one] + 1, (one, "unread", self.story)
        assert all(row.stands <= one.now * 1000 + AHEAD_MS for one in self.devices for row in self.page(one))

    def shown_to(self, person: Person) -> list[str]:
        """Ids of messages that the person has not deleted: of the others nothing is left to act on."""
        return [id_ for id_ in self.said if id_ not in person.gone]

    def rename(self, person: Person, device: Device) -> None:
        person.calls = f"name {len(self.story)}"
        self.story.append(f"{device} calls the other {person.calls}")
        device.call(lambda calls: calls.contact_rename(self.other_id(person), person.calls))

    def block(self, person: Person, device: Device) -> None:
        """Blocks the other, and takes that back on any device: blocked ones hear nothing of each other."""
        self.story.append(f"{device} blocks")
        device.call(lambda calls: calls.contact_block(self.other_id(person)))
        self.world.settle()
        for one in person.devices:
            assert one.engine.profile.view.contacts[self.world.identities[self.other(person).name]].blocked, self.story
        self.set_clock(device, self.rng.choice(SKEWS))
        self.world.settle()
        again = self.rng.choice(person.devices)
        self.story.append(f"{again} unblocks")
        again.call(lambda calls: calls.contact_unblock(self.other_id(person)))

    def call_itself(self, person: Person, device: Device) -> None:
        person.profile = f"{person.name} {len(self.story)}"
        self.story.append(f"{device} is {person.profile}")
        device.call(lambda calls: calls.profile_set(name=person.profile))

    def edit(self, person: Person, device: Device) -> None:
        mine = [id_ for id_ in self.shown_to(person) if self.said[id_].author == person.name]
        if mine:
            id_ = self.rng.choice(mine)
            self.said[id_].text = f"edit {len(self.story)}"
            self.story.append(f"{device} edits {id_}: {self.said[id_].text}")
            device.edit(self.other(person).name, id_, self.said[id_].text)

    def react(self, person: Person, device: Device) -> None:
        shown = self.shown_to(person)
        if shown:
            id_, emoji = self.rng.choice(shown), self.rng.choice(EMOJI)
            self.said[id_].on ^= {(person.name, emoji)}
            self.story.append(f"{device} reacts to {id_}: {emoji} {(person.name, emoji) in self.said[id_].on}")
            device.call(lambda calls: calls.react(chat_id(self.chat(device).id), id_, emoji))

    def mark(self, person: Person, device: Device) -> None:
        """Reads up to some row that is there: of each feed all up to its first message behind that row."""
        rows = self.page(device)
        if not rows:
            return
        at = self.rng.choice((len(rows) - 1, self.rng.randrange(len(rows))))
        upto, behind = rows[: at + 1], set()
        for row in sorted(rows, key=lambda row: row.seq):
            if row not in upto:
                behind.add(row.core)
            elif row.core not in behind:
                person.read.add(message_id(row.id))
        self.story.append(f"{device} reads up to {rows[at].text}")
        device.call(lambda calls: calls.mark(chat_id(self.chat(device).id), upto=message_id(rows[at].id)))

    def delete_chat(self, person: Person, device: Device) -> None:
        if self.rng.random() < 0.5:
            return
        person.gone |= set(self.said)
        self.story.append(f"{device} deletes the chat")
        device.call(lambda calls: calls.delete_chat(chat_id(self.chat(device).id)))

    def hide(self, person: Person, device: Device) -> None:
        shown = self.shown_to(person)
        if shown:
            id_ = self.rng.choice(shown)
            person.gone.add(id_)
            self.story.append(f"{device} hides {id_}")
            device.delete(self.other(person).name, id_, everyone=False)

    # -- what shows -------------------------------------------------------------------------------------------

    def person_of(self, device: Device) -> Person:
        return next(person for person in self.people if device in person.devices)

    def chat(self, device: Device) -> Space:
        return device.space(self.other(self.person_of(device)).name)

    def other_id(self, person: Person) -> str:
        return identity_id(self.world.identities[self.other(person).name])

    def page(self, device: Device) -> list[Row]:
        """The chat as the device shows it."""
        space = self.chat(device)
        rows = timeline.page(device.store, space.id, 100_000)
        return [row for row in rows if messages.shown(device.engine.profile, space, row)]

    def row(self, device: Device, id_: str) -> Row:
        return next(row for row in self.page(device) if message_id(row.id) == id_)

    def unread(self, device: Device) -> int:
        return messages.unread(device.engine.profile, self.chat(device))

    def on(self, device: Device, row: Row) -> set[tuple[str, str]]:
        """(person, emoji) of what is on a message."""
        space, names = self.chat(device), {identity: name for name, identity in self.world.identities.items()}
        put = reactions(timeline.marks_on(device.store, space.id, row.id), space.policy().member)
        return {(names[space.state.members[one].identity], emoji) for emoji, members in put for one in members}

    def look(self) -> None:
        """Every device shows what was decided."""
        for person in self.people:
            other = self.other(person)
            for device in person.devices:
                profile, where = device.engine.profile, (device, self.story)
                contact = profile.view.contacts[self.world.identities[other.name]]
                assert (contact.name or "", bool(contact.blocked)) == (person.calls, False), where
                assert profile.view.profile.name == person.profile, where
                told = told_profiles(self.chat(device)).values()
                assert {one.name for one in told} == {person.profile, other.profile}, where
                shown = {message_id(row.id): row for row in self.page(device)}
                assert set(shown) == set(self.said) - person.gone, where
                for id_, row in shown.items():
                    assert row.text == self.said[id_].text, (id_, where)
                    assert self.on(device, row) == self.said[id_].on, (id_, where)
                theirs = {id_ for id_, said in self.said.items() if said.author == other.name}
                assert self.unread(device) == len(theirs - person.read - person.gone), where
                self.look_at_order(device)

    def look_at_order(self, device: Device) -> None:
        """Each row stands at its stamp, or where it came while that is ahead."""
        now_ms, rows = int(device.now * 1000), self.page(device)
        assert [row.key() for row in rows] == sorted(row.key() for row in rows)
        for row in rows:
            ms = stamp_ms(row.stamp)
            assert row.stands <= now_ms + AHEAD_MS, (device, "stands ahead", self.story)
            assert ms > now_ms - 60_000 or row.stands == ms, (device, "its stamp has passed", self.story)


def run(seed: int, steps: int) -> Clocks:
    """One seed from its beginning."""
    clocks = Clocks(seed)
    for _ in range(steps):
        clocks.step()
    return clocks
