"""Ids as people see and paste them, and back: `prefix_` + base32 of the first 20 bytes.

A shown id is looked up among what this profile knows, so half a hash is enough and a wrong one is `not_found`.
"""

from __future__ import annotations

from collections.abc import Iterable

from identity.digest import shown_id, unbase32
from identity.errors import DecodeError, KithkinError
from sync.engine.profile import Profile
from sync.engine.twins import current
from sync.space import timeline
from sync.space.space import Space

IDENTITY, DEVICE, CHAT, MESSAGE = "id", "dev", "chat", "msg"
SHOWN = 20  # bytes
SELF = "self"


def identity_id(identity: bytes) -> str:
    """`id_` and the first 20 bytes of an identity key."""
    return shown_id(IDENTITY, identity)


def device_id(device: bytes) -> str:
    """`dev_` and the first 20 bytes of a device id."""
    return shown_id(DEVICE, device)


def chat_id(space: bytes) -> str:
    """`chat_` and the first 20 bytes of a space id."""
    return shown_id(CHAT, space)


def message_id(message: bytes) -> str:
    """`msg_` and the first 20 bytes of a message id."""
    return shown_id(MESSAGE, message)


def not_found(what: str) -> KithkinError:
    """The error for an id that names nothing here."""
    return KithkinError("not_found", f"There is no such {what} here.")


def prefix_of(text: str, kind: str) -> bytes | None:
    """The 20 bytes of a shown id of this kind; None for anything else."""
    head, _, body = text.strip().partition("_")
    if head.lower() != kind or len(body) > 64:
        return None
    try:
        data = unbase32(body.upper())
    except DecodeError:
        return None
    return data if len(data) == SHOWN else None


def among(text: str, kind: str, known: Iterable[bytes], what: str) -> bytes:
    """The one whole id behind a shown one.  Raises `not_found`."""
    prefix = prefix_of(text, kind)
    found = [] if prefix is None else [one for one in known if one.startswith(prefix)]
    if len(found) != 1:
        raise not_found(what)
    return found[0]


def find_chat(profile: Profile, text: str) -> bytes:
    """The space id of a chat in my list; `self` is the notes to myself, whose id nobody wants to look up."""
    if text == SELF:
        for id_, chat in profile.view.chats.items():
            if chat.kind == SELF:
                return id_
    return among(text, CHAT, profile.view.chats, "chat")


def find_space(profile: Profile, text: str) -> Space:
    """The space of a chat that this device is in, as far as it knows; of a group that was restarted the one in which it
    goes on."""
    return current(profile, space_of(profile, find_chat(profile, text)))


def space_of(profile: Profile, chat: bytes) -> Space:
    """The space of a chat by its whole id.  Whoever waits keeps the id, not the space: when the profile is read again
    from its store, the spaces are others.  Raises `not_allowed`."""
    space = profile.spaces.get(chat)
    if space is None:
        raise KithkinError("not_allowed", "This device is not in that chat yet.")
    return space


def find_contact(profile: Profile, text: str) -> bytes:
    """The identity of a contact."""
    return among(text, IDENTITY, profile.view.contacts, "contact")


def find_participant(profile: Profile, space: Space, text: str) -> bytes:
    """The identity of somebody who is or was in a chat, or of a contact who may be invited to it."""
    known = {member.identity for member in space.state.members.values()} | set(profile.view.contacts)
    return among(text, IDENTITY, known, "member")


def find_message(profile: Profile, space: Space, text: str) -> bytes | None:
    """The whole message id in one space, None where no single message there has that shown id."""
    prefix = prefix_of(text, MESSAGE)
    return None if prefix is None else timeline.find_message(profile.store, space.id, prefix)
