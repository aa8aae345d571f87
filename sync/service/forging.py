"""Forges a transcript of a chat: feeds and heads that verify, for texts of one's choice, without anybody else's keys.

What a transcript proves is what W's have signed, and nobody but a W's own word says whose W it is: an identity signs
its devices and nothing else.  So whoever has somebody's certificates, as every contact has, plays that person with a W
drawn here.  Each member is played by a profile in memory that runs the code of a real one, so form, sizes and order
are those of a real chat.  `docs/protocol.md`, "Transcripts"; `docs/threat-model.md` says what this shows and what not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from crdt.docs.chat import Message, Receipt
from crdt.docs.ids import NONCE_BYTES, writer_id
from crdt.docs.schema import Value
from crdt.log.entry import Kind, decode_plaintext, open_entry, read_block
from crdt.log.merkle import leaf_of
from crdt.log.stamp import CEILING_MS
from crdt.space.consent import agreement_of, sign_consent
from crdt.space.control import Add, SpaceKind
from crdt.space.grant import OpenedGrant
from identity.device import DeviceKeys, new_prekey
from identity.errors import DecodeError, KithkinError
from identity.kem import Kem, is_hybrid
from identity.keys import AgreementKey, Random, SigningKey
from identity.phrase import new_phrase, phrase_keys
from identity.statement import root_certificate
from sync.account.account import Account, new_account
from sync.account.context import new_writer
from sync.account.directory import Directory
from sync.engine.profile import Profile, found_profile
from sync.engine.tasks.epochs import write_first_entry
from sync.engine.tasks.profiles import exchange_profiles
from sync.engine.tasks.receipts import RECEIPT_GAP_MS
from sync.service.ids import identity_id
from sync.service.names import person_name
from sync.service.system import system_refusals
from sync.service.text import check_text
from sync.service.times import parse_time
from sync.space.epochs import found_space, open_epoch
from sync.space.space import Space
from sync.store.memory import MemoryStore

MAX_LINE = 512 * 1024  # bytes of a line of the script
MAX_LINES = 20_000
DAY_MS = 86_400_000
MAX_AT_MS = CEILING_MS - DAY_MS  # what a stamp holds, with room for what follows the last line
BEFORE_MS = 60_000  # that a chat begins before its first text


@dataclass(frozen=True, slots=True)
class Role:
    """A member to be played: the public half of one of its devices, as certificates show it.

    own: the D of this device, for the one role that is ours; hybrid: it tells a K beside its P.
    """

    identity: bytes
    name: str
    signing: bytes
    agreement: bytes
    statements: tuple[bytes, ...]
    own: AgreementKey | None = field(default=None, repr=False)
    hybrid: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """What one of the roles (by place) is made to say."""

    role: int
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Script:
    """kind and title of the chat; roles: its creator first; lines in their order."""

    kind: SpaceKind
    title: str
    roles: tuple[Role, ...]
    lines: tuple[Line, ...]
    me: int


class BorrowedKey(AgreementKey):
    """The D of somebody else, whose secret is not here.

    With a key of ours it agrees, for that takes either secret.  With any other it gives bytes of our choice: only
    the two who hold those secrets could tell that they are not the shared ones.
    """

    def __init__(self, public: bytes, ours: dict[bytes, AgreementKey], chosen: bytes) -> None:
        super().__init__(public, b"")
        object.__setattr__(self, "_ours", ours)
        object.__setattr__(self, "_chosen", chosen)

    __slots__ = ("_chosen", "_ours")
    _ours: dict[bytes, AgreementKey]
    _chosen: bytes

    def agree(self, public: bytes) -> bytes:
        """The 32-byte X25519 result where a secret is here, else 32 bytes that both of these keys give."""
        key = self._ours.get(public)
        if key is not None:
            return key.agree(self.public)
        return blake2b(b"".join(sorted((self.public, public))), key=self._chosen, digest_size=32).digest()


def cast_of(profile: Profile, space: Space) -> tuple[Role, ...]:
    """The members of a chat as they can be played here, its creator first.

    Raises `not_allowed` where no certificate of a member is known.
    """
    state, own = space.state, profile.account.keys.agreement
    found: list[Role] = []
    came = {member: min(w.stamp for w in state.writers.values() if w.member == member) for member in state.members}
    for member in sorted(state.members.values(), key=lambda one: (one.id != state.creator, came[one.id])):
        feeds = [w for w in state.writers.values() if w.member == member.id]
        mine = member.identity == profile.account.identity
        for writer in sorted(feeds, key=lambda w: (w.device != profile.account.device, not w.open, w.core)):
            agreement = agreement_of(writer.statements, member.identity, writer.device)
            known = profile.directory.device(writer.device)
            if agreement is None or known is None or any(role.identity == member.identity for role in found):
                continue
            name = person_name(profile, member.identity, space)
            key = own if mine and agreement == own.public else None
            hybrid = is_hybrid(writer.prekey)
            found.append(Role(member.identity, name, known.signing, agreement, writer.statements, key, hybrid))
            break
    if not any(role.own is not None for role in found):
        raise KithkinError("not_allowed", "This device is not in that chat, so it can play nobody there.")
    return tuple(found)


def script_of(kind: SpaceKind, title: str, roles: tuple[Role, ...], path: Path) -> Script:
    """Reads lines `{"at", "from", "text"}`; `from` is a member's name or id, `me` is this profile.

    Raises `bad_line` with the number of the first line that is none, `not_found`.
    """
    me = next(place for place, role in enumerate(roles) if role.own is not None)
    lines: list[Line] = []
    for number, line in enumerate(_read(path), 1):
        if not line.strip():
            continue
        if len(lines) == MAX_LINES:
            raise KithkinError("bad_line", f"Line {number}: a transcript is forged of at most {MAX_LINES:,} lines.")
        lines.append(_line(line, number, roles, me))
    if not lines:
        raise KithkinError("bad_line", "The file holds no line, so there is nothing to forge.")
    return Script(kind, title, roles, tuple(lines), me)


def _read(path: Path) -> Iterator[bytes]:
    with system_refusals():
        if not path.is_file():
            raise KithkinError("not_found", "There is no such file.")
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                yield line


def _line(line: bytes, number: int, roles: Sequence[Role], me: int) -> Line:
    try:
        if len(line) > MAX_LINE:
            raise ValueError("too long")
        value = json.loads(line)
        at_ms = parse_time(value["at"])
        if not DAY_MS <= at_ms < MAX_AT_MS:
            raise ValueError("no time of a chat")
        who, text = value["from"].casefold(), check_text(value["text"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, KithkinError) as error:
        raise KithkinError(
            "bad_line", f'Line {number} is not {{"at","from","text"}} with a time, a member and a text.'
        ) from error
    named = {
        place
        for place, role in enumerate(roles)
        if who in (role.name.casefold(), identity_id(role.identity).casefold())
    }
    if who == "me":
        named = {me}
    if len(named) != 1:
        what = "nobody in that chat" if not named else "several members: name one by its id"
        raise KithkinError("bad_line", f"Line {number}: {value['from']!r} is {what}.")
    return Line(named.pop(), at_ms, text)


class Player:
    """One role on stage: a profile in memory, whose device is that of the role as far as anybody can see."""

    def __init__(
        self,
        role: Role,
        ours: dict[bytes, AgreementKey],
        chosen: bytes,
        now_ms: int,
        rng: Random,
        kem: Kem | None,
    ) -> None:
        now, kem = now_ms / 1000, kem if role.hybrid else None
        keys = phrase_keys(new_phrase(rng), kem)
        account = new_account(keys.root.public, "device", rng, now, kem=kem)
        own = account.keys
        certificate = root_certificate(
            keys.root, own.signing, own.agreement.public, created=int(now), generation=int(now)
        )
        store = MemoryStore()
        # The personal space is nobody's and is thrown away; what the chat sees is put in its place.
        found_profile(store, account, [certificate], keys.recovery.public, role.name, now_ms, rng, kem)
        self.profile = Profile(store, rng, kem)
        agreement = role.own or BorrowedKey(role.agreement, ours, chosen)
        prekey = new_prekey(rng, now, kem)
        ours[prekey.key.agreement.public] = prekey.key.agreement
        played = DeviceKeys(SigningKey(role.signing, b""), agreement, (prekey,))
        self.profile.context.account = Account(role.identity, played, account.transports)
        self.profile.context.directory = Directory(agreement)
        self.profile.directory.learn(role.statements)
        self._ours = ours
        self.last: dict[str, int] = {}  # writer id -> seq of its last message that no receipt of ours tells of
        self.told_ms = 0

    def enter(self, space: bytes, key: SigningKey) -> None:
        """Takes W into the space."""
        self.profile.space(space).found(key)

    def end_day(self, now_ms: int) -> None:
        """What a device does in the course of a week: a new prekey, and a record that tells it."""
        self.profile.rotate(now_ms / 1000)
        agreement = self.profile.account.keys.prekey.agreement
        self._ours[agreement.public] = agreement

    def write(self, space: bytes, now_ms: int, *values: Value) -> int:
        """The seq of the entry."""
        ((seq, _),) = self.profile.write(self.profile.spaces[space], [values], now_ms)
        self.profile.commit(now_ms)
        return seq


class Stage:
    """The players of one space, each of whom hears at once what another writes."""

    def __init__(self, script: Script, rng: Random, kem: Kem | None) -> None:
        self._script, self._rng = script, rng
        self._ours: dict[bytes, AgreementKey] = {}
        for role in script.roles:
            if role.own is not None:
                self._ours[role.agreement] = role.own
        self.now_ms = min(line.at_ms for line in script.lines) - BEFORE_MS
        self._pass(0, BEFORE_MS // 2)
        chosen = rng(32)
        self.players = [Player(role, self._ours, chosen, self.now_ms, rng, kem) for role in script.roles]
        self._day = self.now_ms // DAY_MS
        self.space = self._found()

    def play(self) -> Space:
        """Every line of the script; the space as our role has it."""
        for line in self._script.lines:
            self._pass_days(line.at_ms)
            self._say(line)
        return self.players[self._script.me].profile.spaces[self.space]

    def _found(self) -> bytes:
        """The creator's space, everybody else added with an epoch each, as invites and answers to offers have it."""
        script, creator, now_ms = self._script, self.players[0], self.now_ms
        profile = creator.profile
        z = self._rng(32) if script.kind is SpaceKind.DIRECT else None
        space = found_space(profile.context, script.kind, script.title, now_ms, key=new_writer(self._rng), z=z)
        profile.keep(space)
        self._commit(creator)
        mine = space.mine
        if mine is None:
            raise ValueError("a space without a feed of its creator")
        if script.kind is not SpaceKind.DIRECT:
            exchange_profiles(profile, space, now_ms)
            self._commit(creator)
        for role, player in zip(script.roles[1:], self.players[1:], strict=True):
            key, account = new_writer(self._rng), player.profile.account
            prekey = account.keys.prekey.public
            consent = sign_consent(
                key, space.id, mine.core, identity=role.identity, device=account.device, prekey=prekey
            )
            player.enter(space.id, key)
            add = Add(role.identity, key.public, account.device, role.statements, prekey, consent)
            open_epoch(space, self.now_ms, [add])
            self._commit(creator)
            exchange_profiles(profile, space, self.now_ms)
            self._commit(creator)
            self._pass(20, 400)
            self._hear(space.id)
            theirs = player.profile.spaces[space.id]
            write_first_entry(player.profile, theirs, self.now_ms)
            self._commit(player)
            exchange_profiles(player.profile, theirs, self.now_ms)
            self._commit(player)
            self._pass(20, 400)
            self._hear(space.id)
        return space.id

    def _say(self, line: Line) -> None:
        """Who says something has read what stands above it, and told so at most once a minute."""
        player = self.players[line.role]
        at_ms = max(self.now_ms + 1, line.at_ms)
        if line.at_ms % 1000 == 0:
            at_ms += self._draw(1000)  # a script that knows whole seconds alone
        if player.last and at_ms - player.told_ms >= RECEIPT_GAP_MS and self._script.kind is not SpaceKind.SELF:
            self.now_ms = max(self.now_ms + self._draw(at_ms - self.now_ms), player.told_ms + RECEIPT_GAP_MS)
            player.write(self.space, self.now_ms, Receipt(tuple(sorted(player.last.items()))))
            player.last, player.told_ms = {}, self.now_ms
            self._hear(self.space)
        self.now_ms = at_ms
        seq = player.write(self.space, self.now_ms, Message(self._rng(NONCE_BYTES), line.text))
        mine = player.profile.spaces[self.space].mine
        for other in self.players:
            if other is not player and mine is not None:
                other.last[writer_id(mine.core)] = seq
        self._hear(self.space)

    def _draw(self, below: int) -> int:
        return int.from_bytes(self._rng(8), "little") % max(below, 1)

    def _pass(self, least_ms: int, most_ms: int) -> None:
        """Some time passes, as it does between two devices."""
        self.now_ms += least_ms + self._draw(most_ms - least_ms)

    def _pass_days(self, until_ms: int) -> None:
        """Before the first word of a day: new prekeys where a week began, and records, without which a device counts as
        dormant."""
        day = until_ms // DAY_MS
        if day <= self._day:
            return
        self._day, self.now_ms = day, max(self.now_ms, day * DAY_MS)
        for player in self.players:
            player.end_day(self.now_ms)
            space = player.profile.spaces[self.space]
            transports = player.profile.account.transports[-1][1].public
            space.records.make(self.now_ms, (transports, transports), (), ())
            self._commit(player)
            mine = space.mine
            for other in self.players:
                if other is not player and mine is not None:
                    counter, data = space.feed_store.counters[mine.writer], space.feed_store.record(mine.writer)
                    other.profile.spaces[self.space].records.hear(mine.writer, counter, data, self.now_ms)
                    self._commit(other)

    def _hear(self, id_: bytes) -> None:
        """Everybody gets the blocks of everybody, and the keys of epochs that were opened for it."""
        for player in self.players:
            space = player.profile.spaces.get(id_)
            if space is None:
                continue
            for other in self.players:
                theirs = other.profile.spaces.get(id_)
                if other is player or theirs is None or theirs.mine is None:
                    continue
                self._take(space, theirs)
                for epoch in theirs.state.epochs.values():
                    rostered = space.mine is not None and any(one.writer == space.mine.writer for one in epoch.roster)
                    if rostered and epoch.id not in space.keys and epoch.id in theirs.keys:
                        key = theirs.keys[epoch.id]
                        space.epoch_keys.learn(key.id, OpenedGrant(key.secret, key.z, None))
            self._commit(player)
            for core in list(space.inbound.sealed):  # of before it came in: not for it
                feed = space.feed_store.feeds[core]
                space.inbound.deny(feed, [(0, feed.length)], own=True)
                self._commit(player)

    def _take(self, space: Space, theirs: Space) -> None:
        source = theirs.mine
        if source is None or source.head is None:
            return
        held = space.feed_store.by_writer.get(source.writer)
        start = held.length if held is not None else 0
        if start >= source.length:
            return
        entries = theirs.feed_store.entries(source, start, source.length)
        blocks = [entry.block for entry in entries]
        leaves = [leaf_of(block) for block in blocks]
        for seq, entry in enumerate(entries, start):
            # As newcomers get control entries of before; and the slot of a borrowed device opens to its secret alone.
            text = decode_plaintext(open_entry(entry.key, source.core, space.id, entry.block, read_block(entry.block)))
            if text.kind is Kind.CONTROL:
                space.feed_store.put_item(space.context.batch, source.core, seq, entry.key, entry.block)
        tree, nodes = space.feed_store.tree(source.writer).extend(leaves)
        space.inbound.absorb(source.writer, start, blocks, leaves, tree, nodes, source.head, self.now_ms)

    def _commit(self, player: Player) -> None:
        player.profile.commit(self.now_ms)


def forge(script: Script, rng: Random, kem: Kem | None) -> Space:
    """The space of a chat in which these lines were said.  Takes about a millisecond a line and member."""
    try:
        return Stage(script, rng, kem).play()
    except DecodeError as error:
        raise KithkinError("not_allowed", f"A key of a member cannot be used: {error}.") from error
