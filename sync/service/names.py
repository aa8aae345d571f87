"""What people, devices and chats are called here: my name for them, else their own, else the start of their id."""

from __future__ import annotations

from collections.abc import Mapping

from crdt.docs.chat import MemberProfile
from crdt.docs.facts import ABOUT_PROFILES
from crdt.docs.timeline import fold_profiles
from crdt.space.control import SpaceKind
from sync.engine.profile import Profile
from sync.service.ids import identity_id
from sync.space import timeline
from sync.space.space import Space


def told_profiles(space: Space) -> Mapping[bytes, MemberProfile]:
    """member id -> the profile that a member put into this chat."""
    found: Mapping[bytes, MemberProfile] = space.facts.remember(
        "profiles",
        ABOUT_PROFILES,
        lambda: fold_profiles(timeline.facts_of_kind(space.context.store, space.id, ABOUT_PROFILES), space.policy()),
    )
    return found


def person_name(profile: Profile, identity: bytes, space: Space | None = None) -> str:
    """The name of a person: mine for them, else their own, `space` being one in which they may have told it."""
    view = profile.view
    if identity == profile.account.identity:
        return view.profile.name or identity_id(identity)[:11]
    contact = view.contacts.get(identity)
    if contact is not None and (contact.name or contact.profile):
        return contact.name or contact.profile or ""
    if space is not None:
        for member, told in told_profiles(space).items():
            known = space.state.members.get(member)
            if known is not None and known.identity == identity:
                return told.name
    return identity_id(identity)[:11]


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
        return known.state.title
    return (chat.title if chat is not None else None) or "Group"
