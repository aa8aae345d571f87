"""Telling others that one device of a person has taken the place of another, and which feeds follow which.

A restored device is a stranger to everybody.  It proves that it was the former device, tells on that connection who it
is now, and comes back as itself.  What it tells needs no trust: device statements stand for themselves, and that a feed
follows another is signed by the old W.  So anybody may pass it on.  `docs/protocol.md`, "Successions told".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crdt.log.head import valid_writer
from crdt.log.manifest import core_key
from crdt.log.merkle import MAX_LENGTH
from crdt.log.stamp import stamp_ms
from crdt.space.consent import succession_body
from crdt.space.control import MAX_PARENTS, Parent, Succeed
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import verify
from identity.labels import Label
from identity.statement import MAX_STATEMENT, PREFIX
from sync.account.directory import put_statements
from sync.account.former import KEPT_MS
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.space.space import Space

FOLLOWS = 4  # message type of the hello channel
MAX_STATEMENTS = 64
MAX_FOLLOWED = 64  # feeds in one message


@dataclass(frozen=True, slots=True)
class Followed:
    """Feed `old` of a space is followed by feed `new` (both W) of `device`; parents, signature: of its `succeed`."""

    space: bytes
    old: bytes
    new: bytes
    device: bytes
    parents: tuple[Parent, ...]
    signature: bytes

    def signed(self) -> bool:
        """Whether the old W says so."""
        body = succession_body(self.space, core_key(self.new), self.parents)
        return valid_writer(self.old) and verify(self.old, Label.SUCCEED, body, self.signature)


class Introductions:
    """What this device tells and hears of successions; which of its two names it uses towards whom."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._expected: set[tuple[bytes, bytes]] = set()  # (space, device) of feeds that were announced to follow
        self._met: set[bytes] = set()  # devices that proved to know this one as itself
        self._turns: dict[bytes | None, int] = {}  # attempts with each device; None: of whoever dials

    # -- which name -------------------------------------------------------------------------------------------

    def as_former(self, device: bytes | None) -> bool:
        """Whether to be the former device in the next handshake: every second time, until the other knows better."""
        if self._profile.former is None or device in self._met:
            return False
        turn = self._turns[device] = self._turns.get(device, 0) + 1
        return turn % 2 == 1

    def met(self, device: bytes) -> None:
        """It knows this device as itself."""
        self._met.add(device)

    def expects(self, space: bytes, device: bytes) -> bool:
        """Whether a feed of this device was announced in a space, and its block 0 may not be here yet."""
        return (space, device) in self._expected

    # -- telling ----------------------------------------------------------------------------------------------

    def tell(self, peer: Peer, identity: bytes, now_ms: int, *, guest: bool = False) -> None:
        """Tells a proved peer of the feeds that follow others in spaces which its identity is in, each once.

        guest: the device is out, and is told what says so, whether or not a feed follows its own."""
        by_identity: dict[bytes, list[Followed]] = {identity: []} if guest else {}
        for space in self._profile.spaces.values():
            for owner, followed in self._successions(space, now_ms):
                if followed.new not in peer.told and (identity == owner or self._concerns(space, identity)):
                    by_identity.setdefault(owner, []).append(followed)
        for owner, found in sorted(by_identity.items()):
            statements = self._statements(owner, peer if guest else None)
            for start in range(0, max(len(found), 1), MAX_FOLLOWED):
                part = found[start : start + MAX_FOLLOWED]
                peer.mux.send(peer.main, FOLLOWS, encode_follows(owner, statements, part))
                peer.told.update(one.new for one in part)

    def _statements(self, owner: bytes, guest: Peer | None) -> list[bytes]:
        """What is said of the owner's devices; what shows a guest as out comes first, whatever else there is."""
        directory = self._profile.directory
        shown = directory.evidence(owner, guest.proved) if guest is not None and guest.proved is not None else ()
        return list(dict.fromkeys((*shown, *directory.encoded(owner))))[:MAX_STATEMENTS]

    def _concerns(self, space: Space, identity: bytes) -> bool:
        return not space.personal and any(member.identity == identity for member in space.state.members.values())

    def _successions(self, space: Space, now_ms: int) -> Iterator[tuple[bytes, Followed]]:
        """(identity, what follows what) of open writers here that took another's place not long ago."""
        state = space.state
        for entry in space.graph.entries() if state.successors else ():
            writer = state.writers.get(entry.core)
            if entry.seq or writer is None or not writer.open or now_ms - stamp_ms(entry.stamp) > KEPT_MS:
                continue
            for op in entry.ops:
                if isinstance(op, Succeed) and state.successors.get(entry.core) == op.core:
                    identity = state.members[writer.member].identity
                    yield identity, Followed(space.id, op.old, writer.writer, op.device, entry.parents, op.signature)

    # -- hearing ----------------------------------------------------------------------------------------------

    def hear(self, body: bytes, people: Iterable[bytes]) -> list[Space]:
        """What a proved peer tells.  Returns the spaces in which a feed is awaited now.  Raises DecodeError."""
        profile = self._profile
        identity, statements, followed = decode_follows(body)
        if identity not in people:
            return []
        fresh = profile.directory.learn(statements, only={identity})
        put_statements(profile.context.batch, fresh)
        found: list[Space] = []
        for one in followed:
            space = profile.spaces.get(one.space)
            member = space.state.member(core_key(one.old)) if space is not None else None
            device = profile.directory.device(one.device)
            if space is None or member is None or device is None or member.identity != identity:
                continue
            if device.identity != identity or not profile.directory.is_active(one.device) or not one.signed():
                continue
            self._expected.add((space.id, one.device))
            space.members.vouch([core_key(one.new)])
            space.members.awaited[core_key(one.old)] = one.device
            found.append(space)
        if fresh:  # somebody may be out: whoever shares a space with them looks at it again
            for space in profile.spaces.values():
                if any(member.identity == identity for member in space.state.members.values()):
                    space.look_again()
        return found


def encode_follows(identity: bytes, statements: Iterable[bytes], followed: Iterable[Followed]) -> bytes:
    """version | suite | identity | statements | successions: space, old W, new W, device id, parents, signature."""
    out = Writer().raw(PREFIX).raw(identity).array(list(statements), Writer.buffer)

    def one(w: Writer, f: Followed) -> None:
        w.raw(f.space).raw(f.old).raw(f.new).raw(f.device)
        w.array(f.parents, lambda w, p: w.raw(p.core).uint(p.seq).raw(p.hash)).raw(f.signature)

    return out.array(list(followed), one).finish()


def decode_follows(data: bytes) -> tuple[bytes, list[bytes], list[Followed]]:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("successions of another version")
    identity = reader.fixed(32)
    statements = reader.array(lambda r: r.buffer(MAX_STATEMENT), MAX_STATEMENTS)

    def one(r: Reader) -> Followed:
        space, old, new, device = r.fixed(32), r.fixed(32), r.fixed(32), r.fixed(32)
        parents = r.array(lambda r: Parent(r.fixed(32), r.uint(MAX_LENGTH - 1), r.fixed(32)), MAX_PARENTS)
        return Followed(space, old, new, device, tuple(parents), r.fixed(64))

    followed = reader.array(one, MAX_FOLLOWED)
    reader.end()
    return identity, statements, followed
