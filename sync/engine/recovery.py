"""Coming back with the 24 words: copies that contacts keep for one another, and how a recovered device finds them.

Every device seals its person's contacts and chats to the phrase and gives that copy to its contacts, who cannot read
it.  It and they say in the DHT, under keys that follow from the phrase, where a copy is.  A device that was made from
the words looks there, introduces itself with its certificate, asks for the copy, and asks to be let into each chat
anew.  `docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import cast

from crdt.docs.own import OwnChat, OwnContact, OwnProfile, OwnWriter
from crdt.docs.personal import PersonalView
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Add, SpaceKind
from identity.codec import Reader, Writer
from identity.digest import digest
from identity.errors import DecodeError
from identity.hello import ExpectedDevice, HelloListener
from identity.kem import CLASSICAL, SEED, HybridKey, KemKey, check_prekey, read_prekey
from identity.keys import AgreementKey, SigningKey, check_point
from identity.labels import Label
from identity.recovery import (
    MAX_COPY,
    SLOTS,
    DropSlot,
    copy_counter,
    copy_maker,
    drop_slot,
    open_copy,
    open_record,
    seal_copy,
    seal_record,
)
from identity.statement import MAX_STATEMENT, PREFIX, Certificate, Statement, decode_statement, want_certificate
from sync.account.recovery_copy import (
    MAX_CHATS,
    MAX_CONTACTS,
    MAX_PLACES,
    MAX_STATEMENTS,
    MAX_WRITERS,
    CopiedChat,
    CopiedContact,
    RecoveryCopy,
    decode_copy,
    encode_copy,
)
from sync.engine.dialling import Dialling, Whereabouts, decode_whereabouts, encode_whereabouts
from sync.engine.effects import DeviceChanged, PutRecord, SeekRecord
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.space.epochs import open_epoch
from sync.space.obligations import owes_epoch
from sync.space.space import Space
from sync.store.port import Table, prefix_end

KEEP, ASK, COPY, REJOIN, INTRODUCE, KEPT = range(5, 11)  # message types of the hello channel
COPY_GAP = 5.0  # seconds between a change of my contacts and chats and the next copy
RECORD_GAP = 12 * 3600.0  # seconds between two times that a record is put: nodes keep it for 48 h
AFTER = 20.0  # seconds after the start, or after a first copy came, until this device says that it keeps it
SEEK_FIRST, SEEK_LONGEST = 5.0, 600.0  # seconds between two looks for my own copy, doubling
SETTLE = 60.0  # seconds after a copy was found in which a newer one may come
SEARCH = 86_400.0  # and in which those are asked whom the records of contacts name, should they be off
MAX_CERTIFICATES = 2  # of one holder in a record: its own, and that of the device that let it in
MAX_HINTS = 2
MAX_HOLDERS = 2  # devices that one record named; who writes there often pushes out its own alone
MAX_COPIES = 16  # copies looked at in one search
MAX_REJOINS = 256  # chats that one connection is asked to let a device into
MAX_ASKED = 4 * MAX_WRITERS  # feeds of one chat that may let it in, of all copies together
_OWN, _KEPT, _KEPT_BY, _BACK = b"own copy", b"kept/", b"kept by/", b"back/"


@dataclass(frozen=True, slots=True)
class KeptCopy:
    """A contact's copy, as this device keeps it, and the place of the record that says so."""

    slot: DropSlot = field(repr=False)
    copy: bytes = field(repr=False)


class Recovery:
    """What this device gives others to keep, keeps for them, and looks for itself.  `online`: it may use the DHT."""

    def __init__(self, profile: Profile, dialling: Dialling, peers: dict[int, Peer]) -> None:
        self._profile = profile
        self._dialling = dialling
        self._peers = peers
        self.online = False
        self._seen: tuple[int, int, PersonalView] | None = None  # what the copy was last looked at for
        self._copy_at = inf
        self._found_now = False  # a copy came in this tick
        self._meet_at = inf  # when everybody connected is asked to let me back in
        self._record_at: dict[bytes, float] = {}  # whose record (mine: my identity) -> when it is put next
        self._seek_at, self._seek_wait = 0.0, SEEK_FIRST
        self._seeking: dict[bytes, DropSlot] = {}  # public key of a record asked for
        self._named: dict[bytes, list[bytes]] = {}  # the same -> the devices that it named last
        self._copies: set[bytes] = set()  # digests of the copies looked at
        self._asking: dict[bytes, bytes] = {}  # rows of `_BACK`, the uncommitted ones among them
        self._settled = inf  # from when on what was found is mine, and is given to others
        self._rested = False  # that time has come, and the search goes on
        self._asked: set[bytes] = set()  # devices that were asked for the copy

    # -- time ---------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """The node is online, perhaps at another place."""
        self.online = True
        self._record_at.clear()
        self._seek_at, self._seek_wait = now, SEEK_FIRST
        row = self._profile.recovering
        if row is not None and row[:8] != bytes(8):
            self._settled = min(self._settled, now + SETTLE)  # a copy was found before this start

    def work(self, now: float) -> None:
        """Whatever is due: a copy after a change, records, the search for my own copy."""
        profile = self._profile
        if profile.out:
            return
        view = profile.view
        seen = (profile.directory.version, profile.news, view)
        if self._seen is None or seen[:2] != self._seen[:2] or view is not self._seen[2]:
            self._seen, self._copy_at = seen, min(self._copy_at, now + COPY_GAP)
        if self._copy_at <= now:
            self._copy_at = inf
            self._renew_copy(now)
        if self._meet_at <= now:
            self._meet_at = inf
            for peer in self._peers.values():
                if peer.device is not None and not peer.closing:
                    self.met(peer)
        if self._found_now:
            self._found_now, self._meet_at = False, now  # chats are asked for once this tick has kept what was found
        if self.online:
            self._put_records(now)
            self._seek(now)

    def next_wake(self) -> float:
        """Unix seconds at which `work` is due; infinity if nothing waits."""
        if self._profile.out:
            return inf
        times = [self._copy_at, self._meet_at]
        if self.online:
            times += self._record_at.values()
            if self.recovering is not None:
                times += [self._seek_at, self._settled + (SEARCH if self._rested else 0.0)]
        return min(times, default=inf)

    # -- my copy --------------------------------------------------------------------------------------------------

    def _renew_copy(self, now: float) -> None:
        """Makes my copy anew where it would say something else, and gives it to whoever is connected."""
        profile = self._profile
        if profile.recovery is None or not profile.personal.may_write or self._unsettled():
            return
        text = encode_copy(self._contents())
        told, before = digest(Label.COPY, text), profile.store.get(Table.META, _OWN)
        maker = profile.account.keys.agreement
        if before is not None and before[:32] == told and copy_maker(before[32:]) == maker.public:
            return
        counter = max(int(now * 1000), copy_counter(before[32:]) + 1 if before is not None else 0)
        try:
            sealed = seal_copy(profile.recovery, maker, counter, text, profile.rng, profile.context.kem)
        except ValueError:
            return  # more contacts than a copy holds: the last one stands
        profile.context.batch.put(Table.META, _OWN, told + sealed)
        for peer in self._peers.values():
            self._give(peer, sealed)

    def _contents(self) -> RecoveryCopy:
        profile, view = self._profile, self._profile.view
        where = self._dialling.whereabouts()
        contacts, chats = [], []
        for identity, contact in sorted(view.contacts.items())[:MAX_CONTACTS]:
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
        for id_, chat in sorted(view.chats.items())[:MAX_CHATS]:
            space = profile.spaces.get(id_)
            if chat.kind not in ("direct", "group") or chat.state != "active" or space is None or space.z is None:
                continue
            title = space.state.title or chat.title or "" if chat.kind == "group" else ""
            creator = _creator(space) or chat.creator or bytes(32)
            # Who is still outside knows who may let it in from the copy that it found, and from nothing else.
            writers = _letting_in(profile, space) or _writers_of(profile.store.get(Table.META, _BACK + id_))
            chats.append(
                CopiedChat(id_, chat.kind, title, creator, chat.peer or bytes(32), space.z, writers[:MAX_WRITERS])
            )
        generation = profile.directory.generation(profile.account.identity)
        return RecoveryCopy(generation, view.profile.about or "", tuple(contacts), tuple(chats))

    def _give(self, peer: Peer, sealed: bytes) -> None:
        """A contact keeps my copy; the place of its record goes with it."""
        profile = self._profile
        contact = profile.view.contacts.get(peer.identity) if peer.identity is not None else None
        if peer.device is None or contact is None or contact.blocked or peer.closing or profile.recovery is None:
            return
        slot = drop_slot(profile.recovery, 1 + cast(bytes, peer.identity)[0] % (SLOTS - 1))
        peer.mux.send(peer.main, KEEP, PREFIX + slot.signing.seed + slot.secret + sealed)

    # -- others' copies -------------------------------------------------------------------------------------------

    def _keep(self, peer: Peer, body: bytes, now: float) -> None:
        """Keeps the copy that a contact's device made, in place of an older one.  Raises DecodeError."""
        reader, identity = Reader(body), cast(bytes, peer.identity)
        if reader.fixed(2) != PREFIX:
            raise DecodeError("a copy of another version")
        seed, secret, copy = reader.fixed(32), reader.fixed(32), reader.rest()
        counter, held = copy_counter(copy), self.kept(identity)
        makers = {one.agreement: one.id for one in self._profile.directory.active(identity)}
        if identity not in self._profile.view.contacts or makers.get(copy_maker(copy)) != peer.device:
            return
        # The word of a device that was shut out does not outlast it, however high it counted.
        if held is None or copy_counter(held.copy) < counter or copy_maker(held.copy) not in makers:
            self._profile.context.batch.put(Table.META, _KEPT + identity, seed + secret + copy)
            self._record_at.setdefault(identity, now + AFTER)
            held = KeptCopy(DropSlot(SigningKey.from_seed(seed), secret), copy)
        # Said with the commit that keeps it: frames leave after that.
        peer.mux.send(peer.main, KEPT, Writer().fixed_uint(copy_counter(held.copy), 8).finish())

    def _kept_by(self, peer: Peer, body: bytes) -> None:
        """A contact keeps a copy of mine, of this counter.  Raises DecodeError."""
        reader, identity = Reader(body), cast(bytes, peer.identity)
        counter = reader.fixed(8)
        reader.end()
        if identity in self._profile.view.contacts:
            self._profile.context.batch.put(Table.META, _KEPT_BY + identity, counter)

    def keepers(self) -> list[bytes]:
        """Contacts who said that they keep my newest copy."""
        store, row = self._profile.store, self._profile.store.get(Table.META, _OWN)
        if row is None:
            return []
        said = store.scan(Table.META, _KEPT_BY, prefix_end(_KEPT_BY))
        newest = copy_counter(row[32:])
        return [key[len(_KEPT_BY) :] for key, value in said if int.from_bytes(value, "little") >= newest]

    def kept(self, identity: bytes) -> KeptCopy | None:
        """The copy that this device keeps for a contact."""
        row = self._profile.store.get(Table.META, _KEPT + identity)
        return KeptCopy(DropSlot(SigningKey.from_seed(row[:32]), row[32:64]), row[64:]) if row is not None else None

    def _answer(self, peer: Peer) -> None:
        """A device asks for its person's copy: it gets that, or my own where it is one of mine."""
        profile, identity = self._profile, cast(bytes, peer.identity)
        if identity == profile.account.identity:
            row = profile.store.get(Table.META, _OWN)
            copy = row[32:] if row is not None else None
        else:
            kept = self.kept(identity)
            copy = kept.copy if kept is not None else None
        if copy is not None and profile.directory.is_active(cast(bytes, peer.device)):
            peer.mux.send(peer.main, COPY, copy)

    # -- records --------------------------------------------------------------------------------------------------

    def _put_records(self, now: float) -> None:
        """Says in the DHT that I have a copy, mine and those of contacts: also while a device of theirs is here, which
        may be in a thief's hands."""
        profile = self._profile
        me, slots = profile.account.identity, {}
        if profile.recovery is not None:
            slots[me] = drop_slot(profile.recovery, 0)
        if not self._record_at:
            for key, _ in profile.store.scan(Table.META, _KEPT, prefix_end(_KEPT)):
                self._record_at[key[len(_KEPT) :]] = now + AFTER
            self._record_at[me] = now + 1.0
        for identity, at in list(self._record_at.items()):
            if at <= now:
                self._record_at[identity] = now + RECORD_GAP
                kept = self.kept(identity) if identity != me else None
                slot = slots.get(identity) or (kept.slot if kept is not None else None)
                holder = self._holder(now)
                if slot is not None and holder is not None:
                    value = seal_record(slot, profile.rng, holder)
                    profile.effects.append(PutRecord(slot.signing, value, int(now)))

    def _holder(self, now: float) -> bytes | None:
        """This device as a record names it; None where its certificates are more than a record takes."""
        profile, account = self._profile, self._profile.account
        certificates = _chain(profile, account.identity, account.device)
        if not 0 < len(certificates) <= MAX_CERTIFICATES:
            return None
        transports = (account.transport(now).public, account.next_transport(now).public)
        where = Whereabouts(int(now * 1000), transports, self._dialling.hints[:MAX_HINTS])
        return encode_holder(account.device, certificates, where)

    # -- looking for my own copy ----------------------------------------------------------------------------------

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

    def _seek(self, now: float) -> None:
        if self._settled <= now:
            if not self._rested:
                self._rested, self._copy_at = True, now
            if not self._unasked() or self._settled + SEARCH <= now:
                self._profile.keep_recovering(None)
                self._settled, self._rested = inf, False
        if self._seek_at > now or self._profile.recovery is None or self.recovering is None:
            return
        self._seek_at, self._seek_wait = now + self._seek_wait, min(self._seek_wait * 2, SEEK_LONGEST)
        for index in range(SLOTS):
            slot = drop_slot(self._profile.recovery, index)
            self._seeking[slot.signing.public] = slot
            self._profile.effects.append(SeekRecord(slot.signing.public))

    def _unsettled(self) -> bool:
        """Whether what I know of my contacts and chats may be far from whole."""
        return self.recovering is not None and not self._rested

    def _unasked(self) -> bool:
        """Whether a contact's record names a device that was not asked for a copy.  One false copy ends no search."""
        own = drop_slot(self._profile.recovery, 0).signing.public if self._profile.recovery is not None else b""
        return any(set(devices) - self._asked for public, devices in self._named.items() if public != own)

    def sought(self, public: bytes, value: bytes, now: float) -> None:
        """A record that was asked for: whoever it names is dialled."""
        slot = self._seeking.get(public)
        if slot is None:
            return
        try:
            device, certificates, where = decode_holder(open_record(slot, value))
        except DecodeError:
            return
        directory, me = self._profile.directory, self._profile.account.identity
        directory.learn([certificate.encoded for certificate in certificates])
        if certificates[0].identity == me:
            directory.know_former(certificates[0])
        if directory.device(device) is None:
            return
        named = self._named.setdefault(public, [])
        self._named[public] = [*(one for one in named if one != device), device][-MAX_HOLDERS:]
        self._dialling.holders = {one for devices in self._named.values() for one in devices}
        self._dialling.remember(device, where)

    def _found(self, body: bytes, now: float) -> bool:
        """A copy of mine: what is in it becomes my contacts and chats.  An older one than was found before brings what
        that one lacked, and changes nothing that it said: a device that was stolen may have made the newest.  Whether
        it was the newest.  Raises DecodeError."""
        profile, keys, told = self._profile, self.recovering, digest(Label.COPY, body)
        if keys is None or told in self._copies or len(self._copies) >= MAX_COPIES:
            return False
        counter, _, text = open_copy(body, keys, profile.context.kem)
        row = cast(bytes, profile.recovering)
        copy, newest = decode_copy(text), counter > int.from_bytes(row[:8], "little")
        self._copies.add(told)
        self._take(copy, now, newest=newest)
        if not newest:
            self._found_now = True
            return False
        profile.keep_recovering(counter.to_bytes(8, "little") + row[8:])
        self._settled, self._rested = now + SETTLE, False
        profile.effects.append(DeviceChanged(profile.account.device, found_notice(copy)))
        return True

    def _take(self, copy: RecoveryCopy, now: float, *, newest: bool) -> None:
        profile, now_ms = self._profile, int(now * 1000)
        if copy.about and newest:
            profile.note(now_ms, OwnProfile(about=copy.about))
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
                try:
                    self._dialling.remember(device, decode_whereabouts(place))
                except DecodeError:
                    continue
        for chat in copy.chats:
            if chat.space not in profile.view.chats:
                self._ask_back(chat, now_ms)
            else:
                self._ask_further(chat)

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

    def _ask_back(self, chat: CopiedChat, now_ms: int) -> None:
        """A chat that I was in: a feed of this device, which somebody in it has to let in."""
        profile, account = self._profile, self._profile.account
        space = profile.space(chat.space)
        key = profile.own_feed(space)
        if space.z is None:
            space.epoch_keys.set_z(chat.rendezvous)
        space.members.vouch([core_key(writer) for writer in chat.writers])
        self._keep_asking(_BACK + chat.space, chat.writers)
        group = chat.kind == "group"
        profile.note(
            now_ms,
            OwnChat(
                chat.space,
                on=True,
                kind=chat.kind,
                state="active",
                title=chat.title or None,
                creator=chat.creator if group else None,
                peer=None if group else chat.peer,
                rendezvous=chat.rendezvous,
            ),
            OwnWriter(chat.space, key.public, on=True, device=account.device, prekey=account.keys.prekey.public),
        )

    # -- coming back into a chat ----------------------------------------------------------------------------------

    def _rejoins(self) -> Iterable[bytes]:
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

    def _let_back(self, peer: Peer, body: bytes, now: float) -> None:
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

    # -- on a connection ------------------------------------------------------------------------------------------

    def introduction(self) -> bytes | None:
        """How a device that came back with the words introduces itself, before it proves who it is; None for others."""
        profile, account = self._profile, self._profile.account
        if not profile.introduces:
            return None
        chain = _chain(profile, account.identity, account.device)
        return chain[0].encoded if len(chain) == 1 else None

    def introduced(self, listener: HelloListener, body: bytes, people: Iterable[bytes]) -> None:
        """Somebody comes with a certificate by the root key of a person known here: it counts whoever brings it, and
        its device may prove itself on this connection.  Raises DecodeError."""
        profile, certificate = self._profile, want_certificate(body)
        if certificate.issuer is not None or certificate.identity not in people:
            return
        profile.learn([certificate])
        if profile.directory.is_active(certificate.device):
            for one in profile.directory.expected([(certificate.device, certificate.agreement)]):
                listener.admit(ExpectedDevice(one.device, one.secret))

    def met(self, peer: Peer) -> None:
        """A device is proved: a contact gets my copy to keep; who has mine is asked for it; chats are asked to let me
        in."""
        profile = self._profile
        if self.recovering is not None and not peer.asked_copy:
            peer.asked_copy = peer.owes_copy = True
            self._asked.add(cast(bytes, peer.proved))
            peer.mux.send(peer.main, ASK, b"")
        if peer.device is None or profile.out:
            return
        if self.introduction() is not None:
            for request in self._rejoins():
                peer.mux.send(peer.main, REJOIN, request)
        row = profile.store.get(Table.META, _OWN)
        if row is not None and not self._unsettled():
            self._give(peer, row[32:])

    def receive(self, peer: Peer, type: int, body: bytes, now: float) -> None:
        """One message of a proved device.  Raises DecodeError for what is none."""
        if type == COPY:
            asked, peer.owes_copy = peer.owes_copy, False
            if not asked or not self._found(body, now):
                return  # one answer for one question: whoever sends more moves nothing here
            self._found_now = True
        elif peer.device is None:
            return
        elif type == ASK:
            self._answer(peer)
        elif type == KEPT:
            self._kept_by(peer, body)
        elif type == KEEP and not self._profile.out:
            self._keep(peer, body, now)
        elif type == REJOIN and not self._profile.out:
            self._let_back(peer, body, now)


def lost_all(profile: Profile, space: Space, identity: bytes) -> bool:
    """Whether a person has feeds in a space that nobody ended, and all of them are of devices that are out."""
    state = space.state
    if space.kind not in (SpaceKind.DIRECT, SpaceKind.GROUP):
        return False
    left = [w.device for w in state.writers.values() if w.open and state.members[w.member].identity == identity]
    return bool(left) and all(profile.directory.is_out(device) for device in left)


def found_notice(copy: RecoveryCopy) -> str:
    """What people are told when a copy was found."""
    contacts, chats = len(copy.contacts), len(copy.chats)
    return (
        f"Recovered: {contacts} {'contact' if contacts == 1 else 'contacts'} and {chats} "
        f"{'chat' if chats == 1 else 'chats'}. Messages come back from the others, as far as each chat lets newcomers "
        "read; the rest only from a backup."
    )


def encode_holder(device: bytes, certificates: Iterable[Certificate], where: Whereabouts) -> bytes:
    """version | suite | device id | certificates, the device's own first | whereabouts."""
    out = Writer().raw(PREFIX).raw(device).array([c.encoded for c in certificates], Writer.buffer)
    return out.buffer(encode_whereabouts(where)).finish()


def decode_holder(data: bytes) -> tuple[bytes, list[Certificate], Whereabouts]:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a record of another version")
    device = reader.fixed(32)
    certificates = reader.array(lambda r: want_certificate(r.buffer(MAX_STATEMENT)), MAX_CERTIFICATES)
    where = decode_whereabouts(reader.buffer(len(data)))
    reader.end()
    if not certificates or certificates[0].device != device:
        raise DecodeError("a holder without its certificate")
    return device, certificates, where


def encode_rejoin(space: bytes, writer: bytes, prekey: bytes, consents: Iterable[tuple[bytes, bytes]]) -> bytes:
    """version | suite | space id | W | prekey | consents: W of the admitting feed, signature (64)."""
    out = Writer().raw(PREFIX).raw(space).raw(writer).buffer(prekey)
    return out.array(list(consents), lambda w, c: w.raw(c[0]).raw(c[1])).finish()


def decode_rejoin(data: bytes) -> tuple[bytes, bytes, bytes, dict[bytes, bytes]]:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a request of another version")
    space, writer, prekey = reader.fixed(32), check_point(reader.fixed(32)), check_prekey(read_prekey(reader))
    consents = dict(reader.array(lambda r: (r.fixed(32), r.fixed(64)), MAX_WRITERS))
    reader.end()
    return space, writer, prekey, consents


def _chain(profile: Profile, identity: bytes, device: bytes) -> list[Certificate]:
    """The certificates from a standing device up to the root key, its own first."""
    by_device = {s.device: s for s in profile.directory.statements(identity) if isinstance(s, Certificate)}
    found: list[Certificate] = []
    at: bytes | None = device
    while at is not None and len(found) <= MAX_CERTIFICATES:
        certificate = by_device.get(at)
        if certificate is None:
            return []
        found.append(certificate)
        at = certificate.issuer
    return found


def _statement(data: bytes) -> Statement | None:
    try:
        return decode_statement(data)
    except DecodeError:
        return None


def _lasting(where: Whereabouts) -> Whereabouts:
    """Whereabouts as a copy holds them: the week alone of the time, so that the same place makes the same copy."""
    week = 7 * 86_400_000
    return Whereabouts(where.at // week * week, where.transports, where.hints[:MAX_HINTS])


def _writers_of(row: bytes | None) -> tuple[bytes, ...]:
    """The W in a row of `_BACK`, in order."""
    return tuple(row[at : at + 32] for at in range(0, len(row), 32)) if row is not None else ()


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


__all__ = ["ASK", "COPY", "INTRODUCE", "KEEP", "KEPT", "MAX_COPY", "REJOIN", "Recovery"]
