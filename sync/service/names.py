"""What people, devices and chats are called here: my name for them, else their own, else the start of their id.

Who speaks is what was proved: a writer that nobody proved to this device is never called by a person's name alone.  And
of two people who look alike each has a mark of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from crdt.docs.chat import MemberProfile
from crdt.docs.facts import ABOUT_PROFILES
from crdt.docs.personal import PersonalView
from crdt.docs.rows import Row
from crdt.docs.timeline import fold_profiles
from crdt.space.control import SpaceKind
from sync.engine.profile import Profile
from sync.service.ids import identity_id
from sync.service.lookalikes import alike, looks_of
from sync.service.visible import visible
from sync.space import timeline
from sync.space.space import Space

SHORT = 24  # characters of each name where one vouches for another

Looks = Mapping[str, frozenset[bytes]]  # skeleton of a name -> whose it is: contacts, and me


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote something: the identity that its admission names, the name to show, and whether that was proved.
    mine: a device of this person."""

    identity: bytes
    name: str
    proved: bool
    mine: bool


_told: WeakKeyDictionary[Space, tuple[tuple[object, ...], Mapping[bytes, str]]] = WeakKeyDictionary()
_looks: WeakKeyDictionary[Profile, tuple[PersonalView, int, Looks]] = WeakKeyDictionary()


def told_profiles(space: Space) -> Mapping[bytes, MemberProfile]:
    """member id -> the profile that a member put into this chat."""
    found: Mapping[bytes, MemberProfile] = space.facts.remember(
        "profiles",
        ABOUT_PROFILES,
        lambda: fold_profiles(timeline.facts_of_kind(space.context.store, space.id, ABOUT_PROFILES), space.policy()),
    )
    return found


# -- who speaks -----------------------------------------------------------------------------------------------


def speaks(profile: Profile, space: Space, core: bytes) -> bool:
    """Whether a feed is its person's word: it was proved, or my devices told me that it is one of ours."""
    writer = space.state.writers.get(core)
    if writer is None:
        return False
    if space.proofs.stands(core):
        return True
    own = space.state.members[writer.member].identity == profile.account.identity
    return own and any(known.writer == writer.writer for known in profile.view.waiting_writers(space.id))


def member_speaks(profile: Profile, space: Space, member: bytes) -> bool:
    """Whether every open writer of a member is its person's word, of one that is gone any."""
    writers = [writer for writer in space.state.writers.values() if writer.member == member]
    spoken = [speaks(profile, space, writer.core) for writer in writers if writer.open]
    return all(spoken) if spoken else any(speaks(profile, space, writer.core) for writer in writers)


def author_of(profile: Profile, space: Space, core: bytes) -> Author:
    """Who writes a feed."""
    member = space.state.member(core)
    if member is None:
        return Author(b"", "", False, False)
    identity = member.identity
    if speaks(profile, space, core):
        return Author(identity, person_name(profile, identity, space), True, identity == profile.account.identity)
    return Author(identity, vouched_name(profile, space, core), False, False)


def author_of_row(profile: Profile, space: Space, row: Row) -> Author:
    """Who wrote a message.  What stands beyond the end of its feed is on the word of whoever says that it had come
    before, unless that is a device of mine."""
    core, witness = space.members.feed_of(row.core), space.members.witness(row.core, row.seq)
    author, by = author_of(profile, space, core), space.state.member(witness) if witness is not None else None
    if by is None or not author.proved:
        return author
    name = f"{_short(author.name)}, vouched by {_short(person_name(profile, by.identity, space))}"
    return Author(author.identity, name, False, False)


def vouched_name(profile: Profile, space: Space, core: bytes) -> str:
    """ "NAME, vouched by X": what a writer is called that proved nothing.  X is the person of the nearest writer up the
    way of admissions who did."""
    member, voucher = space.state.member(core), space.proofs.voucher(core)
    name = _short(person_name(profile, member.identity, space)) if member is not None else ""
    by = space.state.member(voucher) if voucher is not None else None
    if by is None:
        return f"{name}, not proved"
    if by.identity == profile.account.identity:
        return f"{name}, vouched by you"
    return f"{name}, vouched by {_short(person_name(profile, by.identity, space))}"


def _short(name: str) -> str:
    return name if len(name) <= SHORT else name[: SHORT - 1].rstrip() + "\u2026"


# -- names ----------------------------------------------------------------------------------------------------


def person_name(profile: Profile, identity: bytes, space: Space | None = None) -> str:
    """The name of a person, with the start of its id where somebody else's looks like it; `space`: one in which they
    may have told it."""
    name = plain_name(profile, identity, space)
    if identity == profile.account.identity:
        return name
    others = {other for look in looks_of(name) for other in _looks_of_view(profile).get(look, ())} - {identity}
    if not others and space is not None and identity not in profile.view.contacts:
        others = {other for other, told in _told_names(profile, space).items() if alike(told, name)} - {identity}
    return f"{name} ({identity_id(identity)[:11]})" if others else name


def plain_name(profile: Profile, identity: bytes, space: Space | None = None) -> str:
    """The name of a person without a mark: mine for them, else their own, else the start of their id."""
    view, shown = profile.view, identity_id(identity)[:11]
    if identity == profile.account.identity:
        return visible(view.profile.name or "") or shown
    contact = view.contacts.get(identity)
    if contact is not None and contact.name:
        return visible(contact.name) or shown
    # What they call themselves now stands in the direct chat; my devices note it once a day at most.
    direct = profile.spaces.get(contact.space) if contact is not None and contact.space is not None else None
    if direct is not None and (told := _told_names(profile, direct).get(identity)):
        return told
    if contact is not None and contact.profile:
        return visible(contact.profile) or shown
    return _told_names(profile, space).get(identity, shown) if space is not None else shown


def _told_names(profile: Profile, space: Space) -> Mapping[bytes, str]:
    """identity -> the name that it told in a chat.  Of several members of one identity who proved itself goes first."""
    key = (told_profiles(space), space.members.version, space.proofs.version, profile.view)
    held = _told.get(space)
    if held is not None and held[0][1:3] == key[1:3] and held[0][0] is key[0] and held[0][3] is key[3]:
        return held[1]
    found: dict[bytes, str] = {}
    told = [(member, one.name) for member, one in told_profiles(space).items() if member in space.state.members]
    for member, name in sorted(told, key=lambda one: not member_speaks(profile, space, one[0])):
        if shown := visible(name):
            found.setdefault(space.state.members[member].identity, shown)
    _told[space] = key, found
    return found


def _looks_of_view(profile: Profile) -> Looks:
    """What my contacts and I look like, by name."""
    view, held = profile.view, _looks.get(profile)
    if held is not None and held[0] is view and held[1] == profile.names:
        return held[2]
    found: dict[str, set[bytes]] = {}
    for identity in (profile.account.identity, *view.contacts):
        for look in looks_of(plain_name(profile, identity)):
            found.setdefault(look, set()).add(identity)
    made = {look: frozenset(who) for look, who in found.items()}
    _looks[profile] = view, profile.names, made
    return made


def device_name(profile: Profile, device: bytes) -> str:
    """The name of a device of mine; "device" where none was given."""
    return profile.view.devices.get(device, "device")


def chat_title(profile: Profile, space: bytes) -> str:
    """A group's title, the other person's name, or "Notes to self"."""
    chat, known = profile.view.chats.get(space), profile.spaces.get(space)
    kind = chat.kind if chat is not None else "group"
    if kind == "self":
        return "Notes to self"
    if kind == "direct" and chat is not None and chat.peer is not None:
        return person_name(profile, chat.peer, known)
    if known is not None and known.state.creator is not None and known.kind is SpaceKind.GROUP:
        return visible(known.state.title) or "Group"
    return visible((chat.title if chat is not None else None) or "") or "Group"
