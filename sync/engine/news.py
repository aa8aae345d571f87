"""What the engine tells whoever watches a profile, worked out from what changed: plain functions over two views.

Messages tell of themselves as their rows change (`Profile.commit`).  Here is what else a window shows: how far others
have opened and read, and what another device of mine did to my lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from crdt.docs.facts import ABOUT_PROFILES, ABOUT_READING
from crdt.docs.personal import PersonalView
from crdt.space.control import SpaceKind
from sync.account.directory import KnownDevice
from sync.engine.effects import (
    ChatChanged,
    ContactChanged,
    DeliveryChanged,
    DeviceChanged,
    Effect,
    Event,
    ListChanged,
    MessageHidden,
    NamesChanged,
    ReceiptsChanged,
)
from sync.engine.profile import Profile
from sync.space.delta import SpaceDelta
from sync.space.obligations import SHUT_OUT
from sync.space.space import Space

Reaches = Mapping[tuple[bytes, bytes], int]
"""(core key of a writer, core key of a feed of mine) -> how many of its entries are opened there."""

NOBODY_LEFT = (
    "None of your devices is left in it: the 24 words decide, with `kithkin device keep` here or "
    "`kithkin init --recover` on a new device."
)
BEHIND = (
    "Your words were used at a later time than this device's clock said when it was made from them, so it does not "
    "count. Set the clock; if this is the device to go on with, run `kithkin device keep` and type your words again."
)
KEPT = "Your words keep this device: it goes on as before."
WHOLE = (ChatChanged, ContactChanged, DeviceChanged, ListChanged, NamesChanged, ReceiptsChanged)


def of_view(
    before: PersonalView, after: PersonalView, device: bytes, is_out: Callable[[bytes], bool] = lambda _: False
) -> Iterator[Event]:
    """What my devices agree on now and did not before.  device: this one, in whose name its own changes are told;
    is_out: whether a device of mine was shut out, so that its name alone is news and not that it was linked."""
    if (before.profile, before.devices) != (after.profile, after.devices):
        yield DeviceChanged(device)
    if device in before.devices:  # else this one is new itself, and hears of all the others
        for linked in after.devices.keys() - before.devices.keys():
            yield DeviceChanged(linked, "" if is_out(linked) else linked_notice(after.devices[linked]))
    cleared = {space for space, upto in after.cleared.items() if before.cleared.get(space) != upto}
    for key in dict.fromkeys((*before.hidden, *after.hidden)):
        old, new = before.hidden.get(key), after.hidden.get(key)
        if (old is None) != (new is None):
            yield MessageHidden(*key, new is not None)
    for space, chat in after.chats.items():
        if space not in before.chats:
            yield ChatChanged(space)
        elif space in cleared or (before.chats[space], before.marks.get(space)) != (chat, after.marks.get(space)):
            yield ListChanged(space, space in cleared)
    for identity in dict.fromkeys((*before.contacts, *after.contacts)):
        if before.contacts.get(identity) != after.contacts.get(identity):
            yield ContactChanged(identity)


def of_names(before: PersonalView, after: PersonalView, spaces: Iterable[Space]) -> Iterator[Event]:
    """Groups in which somebody is called otherwise now, by me or by itself."""
    renamed = {
        identity
        for identity, contact in after.contacts.items()
        if (old := before.contacts.get(identity)) is None or (old.name, old.profile) != (contact.name, contact.profile)
    }
    for space in spaces if renamed else ():
        if space.kind is SpaceKind.GROUP and any(m.identity in renamed for m in space.state.members.values()):
            yield NamesChanged(space.id)


def linked_notice(name: str) -> str:
    """What people are told on every device when one was linked."""
    return f'A new device was linked: "{name}"'


def of_departed(profile: Profile, departed: Iterable[KnownDevice]) -> Iterator[Event]:
    """Devices of mine and of contacts that were shut out just now, with a sentence about each."""
    mine, view = profile.account, profile.view
    for device in departed:
        if device.identity == mine.identity:
            yield DeviceChanged(device.id, own_notice(profile, device.id))
    for identity in dict.fromkeys(device.identity for device in departed):
        contact = view.contacts.get(identity)
        if contact is not None:
            name = contact.name or contact.profile or "A contact"
            yield ContactChanged(identity, f"{name} shut a device out; what you write from now on is not for it.")


def own_notice(profile: Profile, device: bytes) -> str:
    """What people are told when a device of mine was shut out."""
    if device != profile.account.device:
        return f'"{profile.view.devices.get(device, "device")}" was shut out of your account.'
    row = profile.recovering
    if profile.introduces and row is not None and row[:8] == bytes(8):  # nobody took its certificate yet
        return BEHIND
    return SHUT_OUT if profile.directory.active(profile.account.identity) else f"{SHUT_OUT} {NOBODY_LEFT}"


def of_facts(deltas: Iterable[SpaceDelta]) -> Iterator[Event]:
    """Spaces in which somebody told how far they have read, or what they are called."""
    for delta in deltas:
        if ABOUT_READING in delta.topics:
            yield ReceiptsChanged(delta.space)
        if ABOUT_PROFILES in delta.topics:
            yield NamesChanged(delta.space)


def of_reaches(space: bytes, before: Reaches, after: Reaches) -> Iterator[Event]:
    """Which of my feeds their devices have opened further, of the bytes that stand here."""
    for (reader, feed), end in after.items():
        start = before.get((reader, feed), 0)
        if end > start:
            yield DeliveryChanged(space, feed, start, end)


def once(effects: Iterable[Effect]) -> list[Effect]:
    """Effects in order, without events about a whole chat, contact or device that stand there already."""
    kept: dict[object, Effect] = {}
    for number, effect in enumerate(effects):
        kept.setdefault(effect if isinstance(effect, WHOLE) else number, effect)
    return list(kept.values())
