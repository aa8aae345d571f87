"""Brings this person's own devices into their chats: each asks to be admitted, and those inside admit it."""

from __future__ import annotations

from crdt.docs.chat import Consent
from crdt.docs.own import OwnChat, OwnWriter
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Admit
from sync.account.context import new_writer
from sync.engine.effects import ChatChanged
from sync.engine.profile import Profile
from sync.space.epochs import open_epoch
from sync.space.space import Space

MAX_CONSENTS = 6  # as many as one value holds: one for each device


def admit_own_devices(profile: Profile, now_ms: int) -> None:
    """Chats that another device of mine is in: this one asks to be admitted, and admits those that ask."""
    for id_, chat in list(profile.view.chats.items()):
        if was_wrongly_told(profile, chat):
            _return(profile, chat, now_ms)
            continue
        if joined_elsewhere(profile, chat):
            profile.note(now_ms, OwnChat(id_, state="active"))
            profile.effects.append(ChatChanged(id_))
            continue
        if chat.state != "active" or not profile.personal.may_write:
            continue
        waiting = profile.view.waiting_writers(id_)
        if (not admitted(profile, id_) or _left_behind(profile, id_)) and _unasked(profile, id_, waiting):
            _ask_admission(profile, chat, waiting, now_ms)
        space = profile.spaces.get(id_)
        if space is not None and space.may_write:
            _admit_own(profile, space, waiting, now_ms)


def admitted(profile: Profile, id_: bytes) -> bool:
    """Whether a feed of this device is a writer there."""
    space = profile.spaces.get(id_)
    return space is not None and space.mine is not None and space.mine.core in space.state.writers


def joined_elsewhere(profile: Profile, chat: OwnChat) -> bool:
    """Whether a device of mine took an offer for an invitation while another had said yes to it already: then a feed of
    mine is named there.  Feeds of an earlier time in that chat are not: they were taken off with my membership."""
    return chat.state == "invited" and chat.kind == "group" and bool(profile.view.waiting_writers(chat.space))


def was_wrongly_told(profile: Profile, chat: OwnChat) -> bool:
    """Whether somebody told me that I was removed, and has been removed itself while I go on being told: what it wrote
    against me fell with it.  Whoever is out learns of nothing that is written later."""
    space = profile.spaces.get(chat.space)
    if chat.state != "removed" or chat.by is None or space is None or not space.may_write:
        return False
    told = [m.id for m in space.state.members.values() if m.identity == chat.by]
    return bool(told) and not any(space.state.active(id_) for id_ in told)


def _return(profile: Profile, chat: OwnChat, now_ms: int) -> None:
    """The chat is one of mine again, with the feed that it has."""
    space, account = profile.spaces[chat.space], profile.account
    values: list[OwnChat | OwnWriter] = [OwnChat(chat.space, state="active")]
    if space.mine is not None:
        prekey = account.keys.prekey.public
        values.append(OwnWriter(chat.space, space.mine.writer, on=True, device=account.device, prekey=prekey))
    profile.note(now_ms, *values)
    profile.effects.append(ChatChanged(chat.space))


def retired_writers(profile: Profile, id_: bytes) -> list[OwnWriter]:
    """For my devices: all feeds of mine in a chat ended with my membership.  Whoever comes back writes new ones."""
    return [OwnWriter(id_, writer, on=False) for space, writer in sorted(profile.view.writers) if space == id_]


def _left_behind(profile: Profile, id_: bytes) -> bool:
    """Whether this device's feed ended with its person's membership.  What it knows of the group need not say so: a
    removal is written under keys that it never gets."""
    space = profile.spaces.get(id_)
    if space is None or space.mine is None or profile.view.chats[id_].kind != "group":
        return False
    return (id_, space.mine.writer) not in profile.view.writers


def _unasked(profile: Profile, id_: bytes, waiting: list[OwnWriter]) -> bool:
    """Whether another device of mine has a feed there that has no consent of this one yet: any of them may be the
    one that is let in first."""
    space, account = profile.spaces.get(id_), profile.account
    mine = space.mine.writer if space is not None and space.mine is not None else None
    asked = next((w for w in waiting if w.writer == mine), None)
    have = {consent.admitting for consent in asked.consents} if asked is not None else set()
    return any(other.writer not in have for other in _others(waiting, account.device))


def _others(waiting: list[OwnWriter], device: bytes) -> list[OwnWriter]:
    return [w for w in waiting if w.device != device][:MAX_CONSENTS]


def _ask_admission(profile: Profile, chat: OwnChat, waiting: list[OwnWriter], now_ms: int) -> None:
    """A feed for this device, with a consent for each feed of mine that may admit it."""
    account = profile.account
    space = profile.space(chat.space)
    if _left_behind(profile, chat.space):
        space.found(new_writer(profile.rng))
    key = profile.own_feed(space)
    if chat.rendezvous is not None and space.z is None:
        space.epoch_keys.set_z(chat.rendezvous)
    prekey = account.keys.prekey.public
    consents = []
    for other in _others(waiting, account.device):
        space.members.vouch([core_key(other.writer)])
        signature = sign_consent(
            key, space.id, core_key(other.writer), identity=None, device=account.device, prekey=prekey
        )
        consents.append(Consent(other.writer, signature))
    profile.note(
        now_ms,
        OwnWriter(space.id, key.public, on=True, device=account.device, prekey=prekey, consents=tuple(consents)),
    )


def _admit_own(profile: Profile, space: Space, waiting: list[OwnWriter], now_ms: int) -> None:
    mine, account = space.mine, profile.account
    if mine is None:
        return
    for asking in waiting:
        if asking.device is None or asking.prekey is None or asking.device == account.device:
            continue
        if core_key(asking.writer) in space.state.writers or not profile.directory.is_active(asking.device):
            continue
        consent = next((c.signature for c in asking.consents if c.admitting == mine.writer), None)
        if consent is None:
            continue
        statements = profile.directory.encoded(account.identity, asking.device)
        admit = Admit(asking.writer, asking.device, statements, asking.prekey, consent)
        if verify_consent(space.id, mine.core, admit) and space.graph.can(mine.core, admit):
            open_epoch(space, now_ms, [admit], recovery=profile.recovery)
