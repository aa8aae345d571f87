"""A device made from the words moves into the personal space of the devices that the phrase kept.

Until one of those has let it in, and it has read what stands there, its own new personal space serves.  Then what it
noted meanwhile and the old list does not have is noted there, and the new space is forgotten.  What was written to the
notes to myself meanwhile follows as soon as this device is let into the old ones.  One commit each.
`docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from dataclasses import replace

from crdt.docs.own import DeviceName, OwnWriter
from crdt.docs.schema import Value
from sync.engine.effects import DeviceChanged
from sync.engine.profile import Profile
from sync.engine.succession import written
from sync.store.port import Table

_NOTES = b"notes to carry over"


def may_move(profile: Profile) -> bool:
    """Whether the kept devices' personal space is here, with everything that one of them had."""
    awaited = profile.awaited
    if awaited is None or awaited.mine is None or not awaited.may_write or not awaited.mine.length:
        return False
    if awaited.inbound.sealed or awaited.members.missing_cores:
        return False
    me, reports = awaited.mine.core, awaited.reports
    others = [w.core for w in awaited.state.writers.values() if w.core != me and w.core in reports and not w.out]
    feeds = {core[:8]: feed for core, feed in awaited.feed_store.feeds.items()}
    return any(
        all(
            head.core8 in feeds and feeds[head.core8].opened >= head.length
            for head in reports[core].opened
            if head.core8 != me[:8]
        )
        for core in others
    )


def move(profile: Profile, now_ms: int) -> None:
    """Puts the move into the open batch.  The profile is to be read again from its store once that is durable."""
    awaited, left, before, account = profile.awaited, profile.personal, profile.view, profile.account
    if awaited is None:
        return
    profile.become_personal(awaited)
    after, values = profile.view, list[Value]()
    name = before.devices.get(account.device)
    if name is not None:
        values.append(DeviceName(account.device, name))
    missing = [contact for identity, contact in sorted(before.contacts.items()) if identity not in after.contacts]
    values += [replace(contact, over=()) for contact in missing]
    notes = next((id_ for id_, chat in after.chats.items() if chat.kind == "self"), None)
    for id_, chat in sorted(before.chats.items()):
        if chat.kind == "self" and notes is not None:
            profile.context.batch.put(Table.META, _NOTES, id_)
            continue
        if id_ not in after.chats:
            values.append(replace(chat, over=()))
        space = profile.spaces.get(id_)
        if space is not None and space.mine is not None:
            prekey = account.keys.prekey.public
            values.append(OwnWriter(id_, space.mine.writer, on=True, device=account.device, prekey=prekey))
    profile.note(now_ms, *values)
    profile.forget(left.id)
    profile.effects.append(DeviceChanged(account.device, MOVED))


MOVED = "This device has joined the devices that you kept: what they know comes now."


def carry_notes(profile: Profile, now_ms: int) -> bool:
    """What was written to the notes to myself before the move goes to the old ones, once they take it.  Whether it
    waits for that."""
    id_ = profile.store.get(Table.META, _NOTES)
    if id_ is None:
        return False
    new = profile.spaces.get(id_)
    if new is not None and new.mine is not None:
        old = next((profile.spaces.get(one) for one, chat in profile.view.chats.items() if chat.kind == "self"), None)
        if old is None or not old.may_write or old.members.missing_cores:
            return True
        profile.write(old, written(new, new.mine, 0), now_ms)
        profile.forget(id_)
    profile.context.batch.delete(Table.META, _NOTES)
    return False
