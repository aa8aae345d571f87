"""The opened profile: its spaces, its personal view, and the one commit a tick.

Everything that changes goes into one batch; `commit` settles what follows, makes it durable and only then lets effects
out.  A store that refuses (a full disk) costs the tick and nothing else: the profile is read again from the store, the
same way as after a crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

from crdt.docs.facts import ABOUT_PROFILES
from crdt.docs.kinds import DocKind
from crdt.docs.own import DeviceName, OwnChat, OwnProfile, OwnWriter, Setting
from crdt.docs.personal import PersonalView, Veil, apart
from crdt.docs.schema import Value, dump_value
from crdt.docs.update import make_update
from crdt.log.entry import Kind
from crdt.log.merkle import Leaf
from crdt.space.control import SpaceKind
from identity.codec import Reader, Writer
from identity.hints import Address, hint_bytes, read_hint
from identity.kem import CLASSICAL, HYBRID, HybridKey, Kem
from identity.keys import Random, SigningKey
from identity.statement import Statement
from sync.account.account import Account, load_account, put_account, rotate
from sync.account.context import Context, new_writer
from sync.account.directory import Directory, load_statements, put_statements
from sync.account.former import KEPT_MS, Former, forget_former, load_former
from sync.engine.effects import Effect, MessageChanged
from sync.engine.joining import drop_joining, load_joinings
from sync.space.delta import SpaceDelta
from sync.space.epochs import ensure_key, found_space
from sync.space.forgetting import hides
from sync.space.outbound import Draft
from sync.space.replaced import naming
from sync.space.space import Space
from sync.store.port import Batch, Store, Table, prefix_end

RUN = 250  # entries under one signature
_PERSONAL = b"personal"
_RECOVERY = b"recovery"
_RECOVERING, _INTRODUCES = b"recovering", b"introduces"
_AWAITED = b"awaited"
_PORT = b"port"
_NODES = b"nodes"
_NOTED = b"noted"  # and the identity of a contact
MAX_NODES = 64  # DHT nodes kept
SPACE_TABLES = (  # whose keys begin with a space id
    Table.SPACE,
    Table.FEED,
    Table.CONTROL,
    Table.EPOCH,
    Table.RECORD,
    Table.FACT,
    Table.ROW,
    Table.ITEM,
    Table.MESSAGE,
    Table.INDEX,
    Table.AHEAD,
    Table.MARK,
    Table.BRANCH,
    Table.UNREAD,
    Table.ERASE,
    Table.FORGET,
    Table.PERSONAL,
)
KINDS = {SpaceKind.PERSONAL: "personal", SpaceKind.SELF: "self", SpaceKind.DIRECT: "direct", SpaceKind.GROUP: "group"}


class Profile:
    """Loaded from its store.  `effects` is what the shell takes after each tick."""

    def __init__(self, store: Store, rng: Random, kem: Kem | None) -> None:
        self.store = store
        self.rng = rng
        self.kem = kem
        self.effects: list[Effect] = []
        self.spaces: dict[bytes, Space] = {}
        self._recovery: bytes | None = None  # the phrase's public keys, where it was made
        self.recovering: bytes | None = None  # counter of the copy found (8) | secret recovery keys
        self.introduces = False  # made from the words: others know it by its certificate alone
        self.awaited: Space | None = None  # the personal space of devices that the words kept, until this one is there
        self._deltas: dict[bytes, SpaceDelta] = {}  # what commits changed and nobody has been told of, by space
        self.copied = False  # a feed of this device has two histories, so another copy of the store wrote it too
        self.former: Former | None = None  # whose place this device took, not long ago
        self.told_names: dict[bytes, str] = {}  # identity -> the name that windows were told, before it is noted
        self.names = 0  # how often somebody told another name in some chat
        self.news = 0  # how often something came that may tell whom to dial, or where
        self._view: PersonalView | None = None
        self._view_version = 0  # of the registers that `_view` was made from
        self._veils: tuple[PersonalView | None, dict[bytes, Veil]] = (None, {})
        self.reload()

    # -- opening ----------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Reads everything from the store: at the start, after a crash, after a refused commit."""
        account = load_account(self.store)
        if account is None:
            raise LookupError("no identity in this profile")
        self.context = Context(self.store, self.rng, account, Directory(account.keys.agreement), self.kem)
        self.context.veil = self.veil
        self._veils = (None, {})
        self.context.directory.learn(load_statements(self.store))
        self._recovery = self.store.get(Table.META, _RECOVERY)
        self.recovering = self.store.get(Table.META, _RECOVERING)
        self.introduces = self.store.get(Table.META, _INTRODUCES) is not None
        self.former = load_former(self.store)
        self.joinings = dict(load_joinings(self.store))
        personal, awaited = self.store.get(Table.META, _PERSONAL), self.store.get(Table.META, _AWAITED)
        if personal is None:
            raise LookupError("no personal space in this profile")
        self.spaces = {}
        self._deltas = {}
        self.news += 1
        self._view = None
        for key, _ in self.store.scan(Table.SPACE):
            space = Space(self.context, key, personal=key in (personal, awaited))
            self.spaces[key] = space
            self.context.last_number = max(self.context.last_number, space.feed_store.highest_number)
        self.personal = self.spaces[personal]
        self.awaited = self.spaces.get(awaited) if awaited is not None else None
        self.copied = any(s.mine is not None and s.mine.writer in s.feed_store.proofs for s in self.spaces.values())
        self.directory.take_departed()  # what was known before is no news
        self._note_hidden()

    @property
    def out(self) -> bool:
        """Whether this device was shut out of its identity: it shows what it has, and seals nothing more."""
        return self.directory.is_out(self.account.device)

    @property
    def recovery(self) -> bytes | None:
        """The phrase's public recovery keys: kept where it was made, read from the settings on linked devices."""
        if self._recovery is not None:
            return self._recovery
        try:
            told = bytes.fromhex(self.view.settings.get("recovery", ""))
        except ValueError:
            return None
        return told if len(told) in (CLASSICAL, HYBRID) else None

    @property
    def account(self) -> Account:
        return self.context.account

    @property
    def directory(self) -> Directory:
        return self.context.directory

    def is_out(self, identity: bytes, device: bytes) -> bool:
        """Whether a device is out of a person's set, by all statements that are known here."""
        return bool(self.directory.out(identity, (device,)))

    @property
    def view(self) -> PersonalView:
        """What my devices agree on."""
        version = self.personal.facts.registers_version
        if self._view is None or self._view_version != version:
            self._view, self._view_version = self.personal.view, version
        return self._view

    def veil(self, space: bytes) -> Veil | None:
        """What of a space I deleted for me alone; the same object until that changes."""
        view, (seen, veils) = self.view, self._veils
        if view is not seen:
            made = view.veils()
            self._veils = view, {id_: veils[id_] if veils.get(id_) == veil else veil for id_, veil in made.items()}
        return self._veils[1].get(space)

    def hides(self, space: bytes, message: bytes, core: bytes, seq: int) -> bool:
        """Whether a message (its row's entry at core, seq) is not to be seen: I deleted it for me alone."""
        return hides(self.store, self.veil(space), space, message, core, seq)

    def _note_hidden(self) -> None:
        """Spaces in which more is deleted for me than was forgotten take part in the next commit."""
        seen = self._veils[1]
        self.veil(self.personal.id)
        for id_, veil in self._veils[1].items():
            if seen.get(id_) is not veil and id_ in self.spaces:
                self.spaces[id_].look_again()

    def space(self, space: bytes) -> Space:
        """The space, made empty where only its id is known yet."""
        found = self.spaces.get(space)
        if found is None:
            found = self.spaces[space] = Space(self.context, space, personal=False)
            found.found()
        return found

    def keep(self, space: Space) -> Space:
        """A space that was just founded."""
        self.spaces[space.id] = space
        space.found()
        return space

    def forget(self, space: bytes) -> None:
        """A space that came to nothing goes, with all that is stored of it."""
        gone, batch = self.spaces.pop(space), self.context.batch
        self.context.changed.pop(space, None)
        self._deltas.pop(space, None)
        end = prefix_end(space) or space + b"\xff"  # no id is all ones
        for table in SPACE_TABLES:
            batch.delete_range(table, space, end)
        for feed in gone.feed_store.feeds.values():
            for table in (Table.ENTRY, Table.NODE, Table.FEED_ROW):
                batch.delete_range(table, feed.number.to_bytes(4, "big"), (feed.number + 1).to_bytes(4, "big"))
        self.joinings.pop(space, None)
        drop_joining(batch, space)

    def port(self) -> int:
        """The UDP port kept from the last run, 0 for none."""
        value = self.store.get(Table.META, _PORT)
        return int.from_bytes(value, "little") if value is not None else 0

    def last_hints(self) -> tuple[str, ...]:
        """Where this device was reached when its node ran last, by its own records."""
        found: tuple[str, ...] = ()
        newest = 0
        for space in self.spaces.values():
            report = space.reports.get(space.mine.core) if space.mine is not None else None
            if report is not None and report.at > newest:
                newest, found = report.at, report.hints
        return found

    def forget_port(self) -> None:
        """The next start takes another port: two restores on one machine must not ask for the same."""
        self.context.batch.delete(Table.META, _PORT)

    def keep_port(self, port: int) -> None:
        if port != self.port():
            self.context.batch.put(Table.META, _PORT, port.to_bytes(2, "little"))

    def noted(self, contact: bytes) -> int | None:
        """Unix ms, by the clock of then, at which this device last noted what a contact (identity) calls itself."""
        value = self.store.get(Table.META, _NOTED + contact)
        return int.from_bytes(value, "little") if value is not None else None

    def keep_noted(self, contact: bytes, now_ms: int) -> None:
        """It was noted at this moment."""
        self.context.batch.put(Table.META, _NOTED + contact, now_ms.to_bytes(8, "little"))

    def nodes(self) -> tuple[Address, ...]:
        """DHT nodes that answered in the last run; each is asked before it is believed."""
        value = self.store.get(Table.META, _NODES)
        if value is None:
            return ()
        reader = Reader(value)
        found = tuple(reader.array(read_hint, MAX_NODES))
        reader.end()
        return found

    def keep_nodes(self, nodes: Iterable[Address]) -> None:
        """For the next start, so that it needs no bootstrap node.  What cannot be dialled is left out."""
        kept: list[bytes] = []
        for node in list(nodes)[:MAX_NODES]:
            with contextlib.suppress(ValueError):
                kept.append(hint_bytes(node))
        if kept:
            self.context.batch.put(Table.META, _NODES, Writer().array(kept, Writer.raw).finish())

    # -- changing ---------------------------------------------------------------------------------------------

    def learn(self, statements: Iterable[Statement]) -> None:
        """Device statements that did not come in a control entry: kept on their own."""
        fresh = self.directory.learn([statement.encoded for statement in statements])
        put_statements(self.context.batch, fresh)

    def keep_recovering(self, row: bytes | None) -> None:
        """What the search for my own copy goes by; None: it is over, and the phrase's keys are forgotten."""
        self.recovering = row
        if row is None:
            self.context.batch.delete(Table.META, _RECOVERING)
        else:
            self.context.batch.put(Table.META, _RECOVERING, row)

    def introduce(self) -> None:
        """From now on this device comes with its certificate: others may not know that the words speak for it."""
        self.introduces = True
        self.context.batch.put(Table.META, _INTRODUCES, b"\x01")

    def await_personal(self, personal: bytes, z: bytes, writers: Iterable[bytes]) -> None:
        """This device is to be let into the personal space of others of mine (W of their feeds there)."""
        space = self.awaited
        if space is None or space.id != personal:
            space = self.awaited = self.spaces[personal] = Space(self.context, personal, personal=True)
            key = new_writer(self.rng)
            space.feed_store.feed(key.public, key)
            space.epoch_keys.set_z(z)
            space.found()
        for writer in writers:
            space.feed_store.feed(writer)
        self.context.batch.put(Table.META, _AWAITED, personal)

    def become_personal(self, space: Space) -> None:
        """From now on this is my personal space; the one before is to be forgotten."""
        self.personal, self.awaited, self._view = space, None, None
        self.context.batch.put(Table.META, _PERSONAL, space.id)
        self.context.batch.delete(Table.META, _AWAITED)

    def set_account(self, account: Account) -> None:
        self.context.account = account
        put_account(self.context.batch, account)

    def rotate(self, now: float) -> bool:
        """New weekly keys where they are due."""
        if self.former is not None and now * 1000 - self.former.since >= KEPT_MS:
            self.former = None
            forget_former(self.context.batch)
        account = rotate(self.account, self.rng, now, self.kem)
        if account is self.account:
            return False
        self.set_account(account)
        return True

    @property
    def uncommitted(self) -> bool:
        """Whether there is anything that the next commit has to make durable."""
        return bool(self.context.changed or len(self.context.batch))

    def own_feed(self, space: Space) -> SigningKey:
        """W of this device in the space, made if there is none yet."""
        feed = space.mine
        if feed is None:
            key = new_writer(self.rng)
            space.found(key)
            return key
        if feed.key is None:
            raise LookupError("a feed of mine without its key")
        return feed.key

    def write(self, space: Space, groups: Sequence[Sequence[Value]], now_ms: int) -> list[tuple[int, Leaf]]:
        """One update entry for each group of values, in order; each names what it replaces.  Raises ValueError for
        values out of bounds."""
        feed = space.mine
        if feed is None:
            raise ValueError("no feed of mine in this space")
        kind = DocKind.PERSONAL if space.personal else DocKind.CHAT
        core = feed.core

        def body(values: Sequence[Value]) -> Callable[[int], bytes]:
            dumped = [dump_value(naming(space, value)) for value in values]
            return lambda seq: make_update(core, seq, kind, dumped)

        made: list[tuple[int, Leaf]] = []
        for start in range(0, len(groups), RUN):  # an epoch that is full is followed by the next one in between
            ensure_key(space, now_ms, self.recovery)
            drafts = [Draft(Kind.UPDATE, body(values)) for values in groups[start : start + RUN]]
            made += space.append(drafts, now_ms)
        return made

    def note(self, now_ms: int, *values: Value) -> None:
        """Writes values of the personal space: they reach all my devices."""
        if values:
            self.write(self.personal, apart(values), now_ms)

    def commit(self, now_ms: int) -> None:
        """Makes the open batch durable; whatever follows may now be sent.  Raises what the store raises; then the
        profile was read again from the store.

        The engine commits once a tick.  Onboarding alone commits in the middle of one as well: it promises the other
        side something (an admission, a contact) in a message that it makes next, from what the commit has folded.
        What changed is gathered until the engine takes it, so the two kinds of commit add up to one delta a space.
        """
        deltas: list[SpaceDelta] = []
        events: list[Effect] = []
        changed = self.context.changed
        self._note_hidden()
        gone: list[Space] = []
        while changed:
            space = self.spaces[changed.popitem()[0]]
            delta = space.finish(now_ms)
            for change in delta.rows:
                fresh = change.before is None and change.after is not None
                self.context.batch.put(Table.INDEX, space.id + change.message, b"")
                if change.before is not None or change.after is not None:
                    events.append(MessageChanged(space.id, change.message, fresh, change.after is None))
            deltas.append(delta)
            if space.forgetting.gone:
                gone.append(space)
        twins = self._tell_twins(gone)
        if any(delta.records or delta.membership or delta.space == self.personal.id for delta in deltas):
            self.news += 1
        self.names += sum(ABOUT_PROFILES in delta.topics for delta in deltas)
        batch, self.context.batch = self.context.batch, Batch()
        if len(batch):
            # Records alone are not worth a sync: what they say of this device is durable already, a lost one is told
            # again, and the clock makes our own counters.  They come ten times a second while somebody writes.
            records = all(change.table is Table.RECORD for change in batch.changes())
            soft = records and not any(delta.forks for delta in deltas)
            try:
                self.store.write(batch, durable=not soft)
            except BaseException:
                self.reload()
                raise
        for twin in twins:
            twin.look_again()
        self._note_hidden()
        for delta in deltas:
            self.spaces[delta.space].committed()
            before = self._deltas.get(delta.space)
            self._deltas[delta.space] = before.followed_by(delta) if before is not None else delta
        self.effects += events

    def _tell_twins(self, gone: Iterable[Space]) -> list[Space]:
        """What was forgotten in one chat with a person goes from the others with the next commit; those others."""
        found: list[Space] = []
        for space in gone:
            messages, space.forgetting.gone = space.forgetting.gone, []
            for id_ in self.view.twins(space.id):
                if id_ != space.id and id_ in self.spaces:
                    self.spaces[id_].forgetting.also(messages)
                    found.append(self.spaces[id_])
        return found

    def take_deltas(self) -> list[SpaceDelta]:
        """What commits changed since the last call, one delta a space."""
        found, self._deltas = list(self._deltas.values()), {}
        return found


def has_account(store: Store) -> bool:
    """Whether the store is a profile's: one whose linking did not finish has no account."""
    return load_account(store) is not None and store.get(Table.META, _PERSONAL) is not None


def found_profile(
    store: Store,
    account: Account,
    statements: Iterable[Statement],
    recovery: bytes,
    name: str,
    now_ms: int,
    rng: Random,
    kem: Kem | None,
    *,
    recovering: HybridKey | None = None,
) -> None:
    """What `init` writes: the account, its personal space with my profile, and the chat with myself.  One commit.

    recovery: the phrase's public keys, X25519 and perhaps ML-KEM; recovering: both halves of them, of a device that was
    made from the words and looks for its copy.
    """
    context = Context(store, rng, account, Directory(account.keys.agreement), kem)
    put_account(context.batch, account)
    put_statements(context.batch, context.directory.learn([statement.encoded for statement in statements]))
    personal = found_space(context, SpaceKind.PERSONAL, "", now_ms, key=new_writer(rng), recovery=recovery)
    context.batch.put(Table.META, _PERSONAL, personal.id)
    context.batch.put(Table.META, _RECOVERY, recovery)
    if recovering is not None:
        seed = recovering.kem.seed if recovering.kem is not None else b""
        context.batch.put(Table.META, _RECOVERING, bytes(8) + recovering.agreement.secret + seed)
        context.batch.put(Table.META, _INTRODUCES, b"\x01")
    own = found_space(context, SpaceKind.SELF, "", now_ms, key=new_writer(rng))
    values = [OwnProfile(name=name), Setting("recovery", recovery.hex()), *first_values(context, own)]
    _write(personal, values, now_ms)
    for space in (personal, own):
        space.found()
        space.finish(now_ms)
    store.write(context.batch, durable=True)


def join_profile(
    store: Store,
    account: Account,
    statements: Iterable[Statement],
    personal: bytes,
    z: bytes,
    key: SigningKey,
    approver: bytes,
    rng: Random,
) -> None:
    """What a finished pairing writes: the account, and a personal space that is still empty.  One commit.

    key: W of this device there; approver: W of the device that let us in.
    """
    context = Context(store, rng, account, Directory(account.keys.agreement), None)  # it seals nothing yet
    put_account(context.batch, account)
    given = list(statements)
    context.directory.learn([statement.encoded for statement in given])
    put_statements(context.batch, given)
    context.batch.put(Table.META, _PERSONAL, personal)
    space = Space(context, personal, personal=True)
    space.feed_store.feed(key.public, key)
    space.feed_store.feed(approver)
    space.epoch_keys.set_z(z)
    space.finish(0)
    store.write(context.batch, durable=True)


def first_values(context: Context, chat: Space) -> list[Value]:
    """How the chat with myself stands in the personal space."""
    mine = chat.mine
    if mine is None:
        raise ValueError("a chat without a feed of mine")
    account = context.account
    return [
        OwnChat(chat.id, on=True, kind="self", state="active", creator=mine.writer, rendezvous=chat.z),
        OwnWriter(chat.id, mine.writer, on=True, device=account.device, prekey=account.keys.prekey.public),
        DeviceName(account.device, account.kind),
    ]


def _write(space: Space, values: Sequence[Value], now_ms: int) -> None:
    mine = space.mine
    if mine is None:
        raise ValueError("a space without a feed of mine")
    core = mine.core

    def body(group: Sequence[Value]) -> Callable[[int], bytes]:
        dumped = [dump_value(value) for value in group]
        return lambda seq: make_update(core, seq, DocKind.PERSONAL, dumped)

    space.append([Draft(Kind.UPDATE, body(group)) for group in apart(values)], now_ms)
