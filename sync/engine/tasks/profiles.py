"""Writes my profile into every chat with others, and notes theirs with my contacts, at most once a day each: what a
contact calls itself, however often, must not fill the feed that all my devices keep."""

from __future__ import annotations

from crdt.docs.chat import MemberProfile
from crdt.docs.facts import ABOUT_PROFILES
from crdt.docs.own import OwnContact
from crdt.docs.timeline import fold_profiles
from crdt.log.stamp import stamp_ms
from crdt.space.control import SpaceKind
from sync.engine.effects import ContactChanged
from sync.engine.profile import Profile
from sync.space import timeline
from sync.space.space import Space

NOTE_GAP_MS = 86_400_000  # between two notes of what one contact calls itself


def exchange_profiles(profile: Profile, space: Space, now_ms: int) -> int | None:
    """My profile stands in every chat with others; theirs is noted with my contacts.  Returns the Unix ms from which
    there is more to note, None where there is nothing."""
    mine = space.mine
    if mine is None or not space.may_write or not mine.length or space.kind in (SpaceKind.PERSONAL, SpaceKind.SELF):
        return None
    facts = timeline.facts_of_kind(profile.store, space.id, ABOUT_PROFILES)
    known = fold_profiles(facts, space.policy())
    state, own = space.state, profile.view.profile
    me = state.writers[mine.core].member
    current = MemberProfile(own.name or "", own.about or None)
    if own.name and known.get(me) != current:
        profile.write(space, [[current]], now_ms)
    due: int | None = None
    if space.kind is SpaceKind.DIRECT:
        for member, told in known.items():
            identity = state.members[member].identity
            contact = profile.view.contacts.get(identity)
            if member == me or contact is None or contact.profile == told.name:
                continue
            last = _last_noted(profile, identity, now_ms)
            if contact.profile is None or last is None or now_ms - last >= NOTE_GAP_MS:
                profile.note(now_ms, OwnContact(identity, profile=told.name))
                profile.keep_noted(identity, now_ms)
                profile.effects.append(ContactChanged(identity))
            else:
                if profile.told_names.get(identity) != told.name:  # it is shown from the chat meanwhile
                    profile.told_names[identity] = told.name
                    profile.effects.append(ContactChanged(identity))
                due = last + NOTE_GAP_MS
    return due


def _last_noted(profile: Profile, identity: bytes, now_ms: int) -> int | None:
    """When any device of mine noted the name of a contact last, as far as clocks tell: a moment that is still to come
    is none."""
    newest = profile.personal.facts.registers.newest(OwnContact(identity), "profile")
    times = [profile.noted(identity), *(stamp_ms(fact.stamp) for fact in newest)]
    return max((at for at in times if at is not None and at <= now_ms), default=None)
