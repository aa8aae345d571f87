"""Copies of a person's devices, contacts and chats, sealed to the phrase: mine for contacts to keep, and theirs here.

Nobody but the owner of the words reads one.  `docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from crdt.space.control import SpaceKind
from identity.codec import Reader, Writer
from identity.device_set import certificates_to_keep
from identity.digest import digest
from identity.errors import DecodeError
from identity.keys import SigningKey
from identity.labels import Label
from identity.recovery import SLOTS, DropSlot, copy_counter, copy_maker, drop_slot, seal_copy
from identity.statement import PREFIX, Certificate
from sync.account.recovery_copy import (
    MAX_PLACES,
    MAX_STATEMENTS,
    MAX_WRITERS,
    CopiedChat,
    CopiedContact,
    CopiedDevice,
    RecoveryCopy,
    encode_copy,
    fitted,
)
from sync.engine.dialling import Dialling, Whereabouts, encode_whereabouts
from sync.engine.effects import DeviceChanged
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.engine.recovery.messages import COPY, KEEP, KEPT
from sync.engine.recovery.returning import asked_back
from sync.space.space import Space
from sync.store.port import Table, prefix_end

MAX_HINTS = 2
_OWN, _KEPT, _KEPT_BY = b"own copy", b"kept/", b"kept by/"
_LEFT = 4  # bytes of the count of what the copy had no room for


@dataclass(frozen=True, slots=True)
class OwnCopy:
    """told: digest of what it says; left: contacts and chats that it has no room for; sealed: as it is given away."""

    told: bytes
    left: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class KeptCopy:
    """A contact's copy, as this device keeps it, and the place of the record that says so."""

    slot: DropSlot = field(repr=False)
    copy: bytes = field(repr=False)


class Copies:
    """What this device gives others to keep, and keeps for them."""

    def __init__(self, profile: Profile, dialling: Dialling, peers: Mapping[int, Peer]) -> None:
        self._profile = profile
        self._dialling = dialling
        self._peers = peers

    # -- mine -----------------------------------------------------------------------------------------------------

    def own(self) -> OwnCopy | None:
        """My newest copy."""
        row = self._profile.store.get(Table.META, _OWN)
        if row is None:
            return None
        return OwnCopy(row[:32], int.from_bytes(row[32 : 32 + _LEFT], "little"), row[32 + _LEFT :])

    def renew(self, now: float) -> None:
        """Makes my copy anew where it would say something else, and gives it to whoever is connected."""
        profile = self._profile
        if profile.recovery is None or not profile.personal.may_write:
            return
        latest = {id_: space.inbound.seen_stamp for id_, space in profile.spaces.items()}
        copy = fitted(self._contents(), latest)
        text = encode_copy(copy)
        told, before = digest(Label.COPY, text), self.own()
        maker = profile.account.keys.agreement
        if before is not None and before.told == told and copy_maker(before.sealed) == maker.public:
            return
        counter = max(int(now * 1000), copy_counter(before.sealed) + 1 if before is not None else 0)
        sealed = seal_copy(profile.recovery, maker, counter, text, profile.rng, profile.context.kem)
        profile.context.batch.put(Table.META, _OWN, told + copy.left.to_bytes(_LEFT, "little") + sealed)
        if copy.left and (before is None or not before.left):
            profile.effects.append(DeviceChanged(profile.account.device, too_many_notice(copy.left)))
        for peer in self._peers.values():
            self.give(peer, sealed)

    def _contents(self) -> RecoveryCopy:
        """Everything that it should say; it may be more than a copy has room for."""
        profile, view = self._profile, self._profile.view
        where = self._dialling.whereabouts()
        contacts, chats = [], []
        for identity, contact in sorted(view.contacts.items()):
            known = [one.id for one in profile.directory.active(identity) if one.id in where][:MAX_PLACES]
            contacts.append(
                CopiedContact(
                    identity,
                    contact.name or "",
                    contact.profile or "",
                    bool(contact.blocked),
                    bool(contact.verified),
                    contact.space or bytes(32),
                    profile.directory.encoded(identity)[:MAX_STATEMENTS],
                    tuple((one, encode_whereabouts(_lasting(where[one]))) for one in sorted(known)),
                )
            )
        for id_, chat in sorted(view.chats.items()):
            space = profile.spaces.get(id_)
            if chat.kind not in ("direct", "group") or chat.state != "active" or space is None or space.z is None:
                continue
            title = space.state.title or chat.title or "" if chat.kind == "group" else ""
            creator = _creator(space) or chat.creator or bytes(32)
            # Who is still outside knows who may let it in from the copy that it found, and from nothing else.
            writers = _letting_in(profile, space) or asked_back(profile, id_)
            peer, old = chat.peer or bytes(32), chat.old or bytes(32)
            chats.append(CopiedChat(id_, chat.kind, title, creator, peer, space.z, writers[:MAX_WRITERS], old))
        generation = profile.directory.generation(profile.account.identity)
        personal = profile.personal
        return RecoveryCopy(
            generation,
            view.profile.about or "",
            tuple(contacts),
            tuple(chats),
            personal.id,
            personal.z or bytes(32),
            self._devices(where),
        )

    def _devices(self, where: Mapping[bytes, Whereabouts]) -> tuple[CopiedDevice, ...]:
        """My devices, with the certificate of each that the phrase would list to keep it."""
        profile, account = self._profile, self._profile.account
        statements = profile.directory.statements(account.identity)
        by_id = {s.id: s for s in statements if isinstance(s, Certificate)}
        writers = {w.device: w.writer for w in profile.personal.state.writers.values() if w.open}
        places = dict(where)
        if self._dialling.where is not None:
            places[account.device] = self._dialling.where
        found = []
        for certificate in (by_id[id_] for id_ in certificates_to_keep(statements, account.identity)):
            device = certificate.device
            place = encode_whereabouts(_lasting(places[device])) if device in places else b""
            name = profile.view.devices.get(device, "device")
            found.append(CopiedDevice(name, certificate.encoded, writers.get(device, bytes(32)), place))
        return tuple(sorted(found, key=lambda one: one.certificate))

    def give(self, peer: Peer, sealed: bytes) -> None:
        """A contact keeps my copy; the place of its record goes with it."""
        profile = self._profile
        contact = profile.view.contacts.get(peer.identity) if peer.identity is not None else None
        if peer.device is None or contact is None or contact.blocked or peer.closing or profile.recovery is None:
            return
        slot = drop_slot(profile.recovery, 1 + cast(bytes, peer.identity)[0] % (SLOTS - 1))
        peer.mux.send(peer.main, KEEP, PREFIX + slot.signing.seed + slot.secret + sealed)

    def kept_by(self, peer: Peer, body: bytes) -> None:
        """A contact keeps a copy of mine, of this counter.  Raises DecodeError."""
        reader, identity = Reader(body), cast(bytes, peer.identity)
        counter = reader.fixed(8)
        reader.end()
        if identity in self._profile.view.contacts:
            self._profile.context.batch.put(Table.META, _KEPT_BY + identity, counter)

    def keepers(self) -> list[bytes]:
        """Contacts who said that they keep my newest copy."""
        own = self.own()
        if own is None:
            return []
        said = self._profile.store.scan(Table.META, _KEPT_BY, prefix_end(_KEPT_BY))
        newest = copy_counter(own.sealed)
        return [key[len(_KEPT_BY) :] for key, value in said if int.from_bytes(value, "little") >= newest]

    # -- others' --------------------------------------------------------------------------------------------------

    def keep(self, peer: Peer, body: bytes) -> bool:
        """Keeps the copy that a contact's device made, in place of an older one; whether it is newer.  Raises
        DecodeError."""
        reader, identity = Reader(body), cast(bytes, peer.identity)
        if reader.fixed(2) != PREFIX:
            raise DecodeError("a copy of another version")
        seed, secret, copy = reader.fixed(32), reader.fixed(32), reader.rest()
        counter, held = copy_counter(copy), self.kept(identity)
        makers = self._makers(identity)
        if identity not in self._profile.view.contacts or makers.get(copy_maker(copy)) != peer.device:
            return False
        # The word of a device that was shut out does not outlast it, however high it counted.
        newer = held is None or copy_counter(held.copy) < counter or copy_maker(held.copy) not in makers
        if held is None or newer:
            self._profile.context.batch.put(Table.META, _KEPT + identity, seed + secret + copy)
            held = KeptCopy(DropSlot(SigningKey.from_seed(seed), secret), copy)
        # Said with the commit that keeps it: frames leave after that.
        peer.mux.send(peer.main, KEPT, Writer().fixed_uint(copy_counter(held.copy), 8).finish())
        return newer

    def _makers(self, identity: bytes) -> dict[bytes, bytes]:
        """D -> id of a contact's active devices that a chat lists: it is told of those alone when one is out."""
        listed = {device for space in self._profile.spaces.values() for device in space.devices()}
        return {one.agreement: one.id for one in self._profile.directory.active(identity) if one.id in listed}

    def kept(self, identity: bytes) -> KeptCopy | None:
        """The copy that this device keeps for a contact."""
        row = self._profile.store.get(Table.META, _KEPT + identity)
        return KeptCopy(DropSlot(SigningKey.from_seed(row[:32]), row[32:64]), row[64:]) if row is not None else None

    def kept_for(self) -> list[bytes]:
        """Identities whose copies this device keeps."""
        return [key[len(_KEPT) :] for key, _ in self._profile.store.scan(Table.META, _KEPT, prefix_end(_KEPT))]

    def answer(self, peer: Peer) -> None:
        """A device asks for its person's copy: it gets that, or my own where it is one of mine."""
        profile, identity = self._profile, cast(bytes, peer.identity)
        if identity == profile.account.identity:
            own = self.own()
            copy = own.sealed if own is not None else None
        else:
            kept = self.kept(identity)
            copy = kept.copy if kept is not None else None
        if copy is not None and profile.directory.is_active(cast(bytes, peer.device)):
            peer.mux.send(peer.main, COPY, copy)


def too_many_notice(left: int) -> str:
    """What people are told when their lists have outgrown a copy."""
    return (
        f"Your contacts and chats are more than a recovery copy holds: {left} that were quiet longest are not in it. "
        "A backup holds all of them."
    )


def _lasting(where: Whereabouts) -> Whereabouts:
    """Whereabouts as a copy holds them: the week alone of the time, so that the same place makes the same copy."""
    week = 7 * 86_400_000
    return Whereabouts(where.at // week * week, where.transports, where.hints[:MAX_HINTS])


def _creator(space: Space) -> bytes | None:
    state = space.state
    member = state.members.get(state.creator) if state.creator is not None else None
    return member.writer if member is not None else None


def _letting_in(profile: Profile, space: Space) -> tuple[bytes, ...]:
    """W of open feeds of others that could let me in again: in a group the creator's and admins'."""
    me, state = profile.account.identity, space.state
    found = [
        (state.members[w.member].rank, w.writer)
        for w in state.writers.values()
        if w.open
        and not w.out
        and state.members[w.member].identity != me
        and (space.kind is SpaceKind.DIRECT or state.members[w.member].rank < 2)
    ]
    return tuple(writer for _, writer in sorted(found)[:MAX_WRITERS])
