"""A device made from the words: what it takes from the copy that it found, and how it comes back into each chat.

`docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from crdt.docs.own import DeviceName, OwnChat, OwnContact, OwnProfile, OwnWriter
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Add, SpaceKind
from identity.device_set import MAX_DEVICES
from identity.digest import digest
from identity.errors import DecodeError
from identity.kem import CLASSICAL, SEED, HybridKey, KemKey
from identity.keys import AgreementKey
from identity.labels import Label
from identity.recovery import open_copy
from identity.statement import Statement, decode_statement
from sync.account.recovery_copy import MAX_WRITERS, CopiedChat, RecoveryCopy, decode_copy
from sync.engine.dialling import Dialling, decode_whereabouts
from sync.engine.effects import DeviceChanged
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.engine.recovery.keeping import copied_devices, found_copy, put_found
from sync.engine.recovery.messages import decode_rejoin, encode_rejoin
from sync.space.epochs import open_epoch
from sync.space.obligations import owes_epoch
from sync.space.space import Space
from sync.store.port import Table, prefix_end

MAX_COPIES = 16  # copies looked at in one search
MAX_REJOINS = 256  # chats that one connection is asked to let a device into
MAX_ASKED = 4 * MAX_WRITERS  # feeds of one chat that may let it in, of all copies together
_BACK = b"back/"


class Returning:
    """Takes found copies, asks chats to let this device in, and lets others in."""

    def __init__(self, profile: Profile, dialling: Dialling) -> None:
        self._profile = profile
        self._dialling = dialling
        self.asked: set[bytes] = set()  # devices that were asked for the copy
        self._looked: set[bytes] = set()  # digests of the copies looked at
        self._asking: dict[bytes, bytes] = {}  # rows of `_BACK`, the uncommitted ones among them
        self._list: RecoveryCopy | None = None  # my devices, as the copies name them

    @property
    def recovering(self) -> HybridKey | None:
        """The phrase's recovery keys, kept by a device that was made from the words until it has found a copy."""
        row = self._profile.recovering
        if row is None:
            return None
        secret, seed = row[8 : 8 + CLASSICAL], row[8 + CLASSICAL :]
        kem = self._profile.context.kem
        made = KemKey.from_seed(kem, seed) if len(seed) == SEED and kem is not None else None
        return HybridKey(AgreementKey.from_secret(secret), made)

    # -- a copy ---------------------------------------------------------------------------------------------------

    def found(self, body: bytes, now: float) -> bool | None:
        """A copy of mine: what is in it becomes my contacts and chats.  An older one than was found before brings what
        that one lacked, and changes nothing that it said: a device that was stolen may have made the newest.  Whether
        it was the newest; None for one that was looked at, or none.  Raises DecodeError."""
        profile, keys, told = self._profile, self.recovering, digest(Label.COPY, body)
        if keys is None or told in self._looked or len(self._looked) >= MAX_COPIES:
            return None
        counter, _, text = open_copy(body, keys, profile.context.kem)
        row = cast(bytes, profile.recovering)
        copy, newest = decode_copy(text), counter > int.from_bytes(row[:8], "little")
        self._looked.add(told)
        self._take(copy, now, newest=newest)
        if newest:
            profile.keep_recovering(counter.to_bytes(8, "little") + row[8:])
            profile.effects.append(DeviceChanged(profile.account.device, found_notice(profile, copy)))
        return newest

    def _take(self, copy: RecoveryCopy, now: float, *, newest: bool) -> None:
        profile, now_ms = self._profile, int(now * 1000)
        if copy.about and newest:
            profile.note(now_ms, OwnProfile(about=copy.about))
        self._take_devices(copy, now_ms, newest=newest)
        known = set() if newest else set(profile.view.contacts)
        for contact in copy.contacts:
            statements = [good for data in contact.statements if (good := _statement(data)) is not None]
            profile.learn(statement for statement in statements if statement.identity == contact.identity)
            if contact.identity not in known:
                profile.note(
                    now_ms,
                    OwnContact(
                        contact.identity,
                        on=True,
                        name=contact.name or None,
                        profile=contact.profile or None,
                        pending=False,
                        blocked=contact.blocked or None,
                        verified=contact.verified or None,
                        space=contact.space,
                        statements=contact.statements,
                    ),
                )
            for device, place in contact.places:
                self._remember(device, place)
        for chat in copy.chats:
            if chat.space not in profile.view.chats:
                self._ask_back(chat, now_ms)
            else:
                self._ask_further(chat)

    def _take_devices(self, copy: RecoveryCopy, now_ms: int, *, newest: bool) -> None:
        """My devices, which the words may keep: those of an older copy are added to what the newest says."""
        profile, identity = self._profile, self._profile.account.identity
        before = self._list or found_copy(profile)
        named, more = (copy, before) if newest or before is None else (before, copy)
        devices = {certificate.device: one for certificate, one in copied_devices(named, identity)}
        for certificate, one in copied_devices(more, identity) if more is not None else ():
            if more is not None and more.personal == named.personal:
                devices.setdefault(certificate.device, one)
        self._list = replace(named, devices=tuple(devices.values())[:MAX_DEVICES])
        put_found(profile, self._list)
        for certificate, one in copied_devices(self._list, identity):
            if certificate.device != profile.account.device and one.name:
                profile.note(now_ms, DeviceName(certificate.device, one.name))
            if one.place:
                self._remember(certificate.device, one.place)

    def _remember(self, device: bytes, place: bytes) -> None:
        try:
            self._dialling.remember(device, decode_whereabouts(place))
        except DecodeError:
            return  # a hint

    def _ask_back(self, chat: CopiedChat, now_ms: int) -> None:
        """A chat that I was in: a feed of this device, which somebody in it has to let in."""
        profile, account = self._profile, self._profile.account
        space = profile.space(chat.space)
        key = profile.own_feed(space)
        if space.z is None:
            space.epoch_keys.set_z(chat.rendezvous)
        space.members.vouch([core_key(writer) for writer in chat.writers])
        self._keep_asking(_BACK + chat.space, chat.writers)
        group, old = chat.kind == "group", chat.old if any(chat.old) else None
        profile.note(
            now_ms,
            OwnChat(
                chat.space,
                on=True,
                kind=chat.kind,
                state="active",
                title=chat.title or None,
                creator=chat.creator if group else None,
                peer=None if group and old is None else chat.peer,
                rendezvous=chat.rendezvous,
                old=old,
            ),
            OwnWriter(chat.space, key.public, on=True, device=account.device, prekey=account.keys.prekey.public),
        )

    def _ask_further(self, chat: CopiedChat) -> None:
        """Another copy names further feeds that may let me into a chat which I am still outside of."""
        key = _BACK + chat.space
        row = self._asking.get(key) or self._profile.store.get(Table.META, key)
        if row is None:
            return
        writers = tuple(dict.fromkeys((*_writers_of(row), *chat.writers)))[:MAX_ASKED]
        self._profile.spaces[chat.space].members.vouch([core_key(writer) for writer in writers])
        self._keep_asking(key, writers)

    def _keep_asking(self, key: bytes, writers: Iterable[bytes]) -> None:
        row = self._asking[key] = b"".join(writers)
        self._profile.context.batch.put(Table.META, key, row)

    # -- coming back into a chat ----------------------------------------------------------------------------------

    def rejoins(self) -> Iterable[bytes]:
        """Requests to be let in, of every chat that this device is still outside of."""
        profile, account = self._profile, self._profile.account
        prekey = account.keys.prekey.public
        for key, row in profile.store.scan(Table.META, _BACK, prefix_end(_BACK), limit=MAX_REJOINS):
            space = profile.spaces.get(key[len(_BACK) :])
            if space is None or space.mine is None or space.mine.key is None:
                continue
            if space.mine.core in space.state.writers:
                self._asking.pop(key, None)
                profile.context.batch.delete(Table.META, key)
                continue
            consents = [
                (
                    writer,
                    sign_consent(
                        space.mine.key,
                        space.id,
                        core_key(writer),
                        identity=account.identity,
                        device=account.device,
                        prekey=prekey,
                    ),
                )
                for writer in _writers_of(row)
            ]
            for start in range(0, len(consents), MAX_WRITERS):
                yield encode_rejoin(space.id, space.mine.writer, prekey, consents[start : start + MAX_WRITERS])

    def let_back(self, peer: Peer, body: bytes, now: float) -> None:
        """A person of whom every device in a chat is out comes back with a new one: whoever may add it does.  Raises
        DecodeError."""
        profile, now_ms = self._profile, int(now * 1000)
        id_, writer, prekey, consents = decode_rejoin(body)
        space, device, identity = profile.spaces.get(id_), cast(bytes, peer.device), cast(bytes, peer.identity)
        if space is None or space.mine is None or not space.may_write or not profile.directory.is_active(device):
            return
        consent = consents.get(space.mine.writer)
        if consent is None or not lost_all(profile, space, identity):
            return
        if owes_epoch(space):
            open_epoch(space, now_ms)
        statements = profile.directory.encoded(identity, device)
        add = Add(identity, writer, device, statements, prekey, consent)
        if verify_consent(space.id, space.mine.core, add) and space.graph.can(space.mine.core, add):
            open_epoch(space, now_ms, [add])


def asked_back(profile: Profile, space: bytes) -> tuple[bytes, ...]:
    """W of feeds that this device asks to let it into a chat, as found copies name them."""
    return _writers_of(profile.store.get(Table.META, _BACK + space))


def comes_back(profile: Profile, space: bytes) -> bool:
    """Whether this device knows a chat by a found copy, and is still outside of it."""
    return profile.store.get(Table.META, _BACK + space) is not None


def _writers_of(row: bytes | None) -> tuple[bytes, ...]:
    """The W in a row of `_BACK`, in order."""
    return tuple(row[at : at + 32] for at in range(0, len(row), 32)) if row is not None else ()


def lost_all(profile: Profile, space: Space, identity: bytes) -> bool:
    """Whether a person has feeds in a space that nobody ended, and all of them are of devices that are out."""
    state = space.state
    if space.kind not in (SpaceKind.DIRECT, SpaceKind.GROUP):
        return False
    left = [w.device for w in state.writers.values() if w.open and state.members[w.member].identity == identity]
    return bool(left) and all(profile.directory.is_out(device) for device in left)


def found_notice(profile: Profile, copy: RecoveryCopy) -> str:
    """What people are told when a copy was found."""
    contacts, chats = len(copy.contacts), len(copy.chats)
    told = (
        f"Recovered: {contacts} {'contact' if contacts == 1 else 'contacts'} and {chats} "
        f"{'chat' if chats == 1 else 'chats'}. Messages come back from the others, as far as each chat lets newcomers "
        "read; the rest only from a backup."
    )
    if copy.left:
        told += f" {copy.left} more had no room in the copy."
    known = copied_devices(replace(copy, contacts=(), chats=()), profile.account.identity)
    others = [one.name for certificate, one in known if certificate.device != profile.account.device]
    if others:
        names = ", ".join(f'"{name}"' for name in sorted(others))
        told += f" Shut out: {names}. Keep those that you still have, by `kithkin device keep` or under Devices."
    return told


def _statement(data: bytes) -> Statement | None:
    try:
        return decode_statement(data)
    except DecodeError:
        return None
