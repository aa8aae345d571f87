"""Control bodies: section 10 of docs/protocol.md. Parents, operations, consents, successions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.second.codec import Reader, array, buffer, require, rising, uint
from tests.second.signature import verified
from tests.second.statement import take_statements

PARENTS = 1024
OPS = 64
KNOWN_SIZE = 128 << 10
UNKNOWN_SIZE = 64 << 10
CREATE, ADD, ADMIT, CLOSE, ADMIN, SET, EPOCH, REVOKE, WITNESS, SUCCEED, SLOTS = range(11)
PERSONAL, SELF, DIRECT, GROUP = range(4)
PREKEYS = (32, 1216)


@dataclass(frozen=True, slots=True, order=True)
class Parent:
    """A control entry that another names."""

    core: bytes
    seq: int
    hash: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.core + uint(self.seq) + self.hash


@dataclass(frozen=True, slots=True)
class End:
    """A length and the tree hash there."""

    length: int
    tree: bytes


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A device as an operation tells it: `device`, statements, prekey."""

    device: bytes
    statements: tuple[bytes, ...]
    prekey: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.device + array(map(buffer, self.statements)) + buffer(self.prekey)


@dataclass(frozen=True, slots=True)
class Create:
    """Operation 0."""

    kind: int
    title: str
    identity: bytes
    newcomer: Newcomer

    def encoded(self) -> bytes:
        """Its bytes."""
        return bytes([self.kind]) + buffer(self.title.encode()) + self.identity + self.newcomer.encoded()


@dataclass(frozen=True, slots=True)
class Add:
    """Operation 1."""

    identity: bytes
    writer: bytes
    newcomer: Newcomer
    consent: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.identity + self.writer + self.newcomer.encoded() + self.consent


@dataclass(frozen=True, slots=True)
class Admit:
    """Operation 2."""

    writer: bytes
    newcomer: Newcomer
    consent: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.writer + self.newcomer.encoded() + self.consent


@dataclass(frozen=True, slots=True)
class Close:
    """Operation 3; `member` is empty where the flag is 0."""

    member: bytes
    ends: tuple[tuple[bytes, End], ...]

    def encoded(self) -> bytes:
        """Its bytes."""
        target = b"\1" + self.member if self.member else b"\0"
        return target + array(writer + uint(end.length) + end.tree for writer, end in self.ends)


@dataclass(frozen=True, slots=True)
class Admin:
    """Operation 4."""

    member: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.member


@dataclass(frozen=True, slots=True)
class Set:
    """Operation 5."""

    key: str
    value: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return buffer(self.key.encode()) + buffer(self.value)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Operation 6."""

    roster: tuple[tuple[bytes, bytes], ...]
    superseded: tuple[bytes, ...]
    check: bytes
    classical: tuple[int, ...]

    def encoded(self) -> bytes:
        """Its bytes."""
        roster = array(writer + device for writer, device in self.roster)
        return roster + array(self.superseded) + self.check + array(map(uint, self.classical))


@dataclass(frozen=True, slots=True)
class Revoke:
    """Operation 7."""

    device: bytes
    statements: tuple[bytes, ...]

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.device + array(map(buffer, self.statements))


@dataclass(frozen=True, slots=True)
class Witness:
    """Operation 8."""

    writer: bytes
    end: End

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.writer + uint(self.end.length) + self.end.tree


@dataclass(frozen=True, slots=True)
class Succeed:
    """Operation 9."""

    old: bytes
    newcomer: Newcomer
    signature: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.old + self.newcomer.encoded() + self.signature


@dataclass(frozen=True, slots=True)
class Slots:
    """Operation 10."""

    epoch: bytes
    seq: int

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.epoch + uint(self.seq)


@dataclass(frozen=True, slots=True)
class Unknown:
    """An operation of a later version, kept byte for byte."""

    code: int
    data: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.data


Op = Create | Add | Admit | Close | Admin | Set | Epoch | Revoke | Witness | Succeed | Slots | Unknown
CODES: dict[type[Op], int] = {
    kind: code
    for code, kind in enumerate((Create, Add, Admit, Close, Admin, Set, Epoch, Revoke, Witness, Succeed, Slots))
}


@dataclass(frozen=True, slots=True)
class Body:
    """Parents and operations of a control entry."""

    parents: tuple[Parent, ...]
    ops: tuple[Op, ...]

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.encoded_parents() + array(uint(code_of(op)) + buffer(op.encoded()) for op in self.ops)

    def encoded_parents(self) -> bytes:
        """The parents as in the body: a succession signs them."""
        return array(parent.encoded() for parent in self.parents)


def code_of(op: Op) -> int:
    """The number of an operation."""
    return op.code if isinstance(op, Unknown) else CODES[type(op)]


def read_body(data: bytes) -> Body:
    """Reads a control body."""
    reader = Reader(data)
    parents = reader.array(PARENTS, lambda: Parent(reader.take(32), reader.uint(), reader.take(32)))
    rising(parents, "parents ascend, each once")
    ops = reader.array(OPS, lambda: take_op(reader))
    reader.end()
    require(len(ops) > 0, "a body has at least one operation")
    codes = [code_of(op) for op in ops]
    require(codes.count(CREATE) + codes.count(ADD) <= 1, "at most one of create and add")
    require(codes.count(EPOCH) <= 1, "at most one epoch")
    return Body(parents, ops)


def take_op(reader: Reader) -> Op:
    """Reads one operation."""
    code = reader.uint()
    if code not in READERS:
        return Unknown(code, reader.buffer(UNKNOWN_SIZE))
    inner = Reader(reader.buffer(KNOWN_SIZE))
    op = READERS[code](inner)
    inner.end()
    return op


def take_newcomer(reader: Reader) -> Newcomer:
    """Reads device, statements and prekey."""
    newcomer = Newcomer(reader.take(32), take_statements(reader), reader.buffer(max(PREKEYS)))
    require(len(newcomer.prekey) in PREKEYS, "a prekey is P, or P and K")
    return newcomer


def take_create(reader: Reader) -> Create:
    """Reads operation 0."""
    kind = reader.byte()
    require(kind <= GROUP, "a known kind of space")
    return Create(kind, reader.string(256), reader.take(32), take_newcomer(reader))


def take_end(reader: Reader) -> tuple[bytes, End]:
    """Reads a feed end."""
    writer, end = reader.take(32), End(reader.uint(), reader.take(32))
    require(end.length > 0 or end.tree == bytes(32), "an end of length 0 has a tree hash of zeros")
    return writer, end


def take_close(reader: Reader) -> Close:
    """Reads operation 3."""
    member = reader.take(32) if reader.flag() else b""
    ends = reader.array(256, lambda: take_end(reader))
    rising((writer for writer, _ in ends), "feed ends ascend by W")
    return Close(member, ends)


def take_epoch(reader: Reader) -> Epoch:
    """Reads operation 6."""
    roster = reader.array(300, lambda: (reader.take(32), reader.take(32)))
    rising((writer for writer, _ in roster), "the roster ascends by W")
    superseded = reader.array(512, lambda: reader.take(32))
    rising(superseded, "superseded epochs ascend")
    check = reader.take(32)
    classical = reader.array(300, reader.uint)
    rising(classical, "classical places ascend")
    require(all(place < len(roster) for place in classical), "a classical place is one of the roster")
    return Epoch(roster, superseded, check, classical)


def take_witness(reader: Reader) -> Witness:
    """Reads operation 8."""
    writer, end = take_end(reader)
    require(end.length > 0, "a witness has a length of at least 1")
    return Witness(writer, end)


READERS: dict[int, Callable[[Reader], Op]] = {
    CREATE: take_create,
    ADD: lambda reader: Add(reader.take(32), reader.take(32), take_newcomer(reader), reader.take(64)),
    ADMIT: lambda reader: Admit(reader.take(32), take_newcomer(reader), reader.take(64)),
    CLOSE: take_close,
    ADMIN: lambda reader: Admin(reader.take(32)),
    SET: lambda reader: Set(reader.string(64), reader.buffer(4096)),
    EPOCH: take_epoch,
    REVOKE: lambda reader: Revoke(reader.take(32), take_statements(reader)),
    WITNESS: take_witness,
    SUCCEED: lambda reader: Succeed(reader.take(32), take_newcomer(reader), reader.take(64)),
    SLOTS: lambda reader: Slots(reader.take(32), reader.uint()),
}


def consent_body(space: bytes, admitting: bytes, identity: bytes | None, newcomer: Newcomer) -> bytes:
    """What W signs to be let in by the feed with core key `admitting`; an identity for `add` alone."""
    operation = b"\2" if identity is None else b"\1" + identity
    return space + admitting + operation + newcomer.device + newcomer.prekey


def consents(space: bytes, admitting: bytes, op: Add | Admit) -> bool:
    """Whether the consent of an `add` or `admit` is good."""
    body = consent_body(space, admitting, op.identity if isinstance(op, Add) else None, op.newcomer)
    return verified(op.writer, b"kithkin consent", body, op.consent)


def succession_body(space: bytes, core: bytes, body: Body) -> bytes:
    """What the old W signs for the new feed with core key `core`."""
    return space + core + body.encoded_parents()


def succeeds(space: bytes, core: bytes, body: Body, op: Succeed) -> bool:
    """Whether the signature of a succession is good."""
    return verified(op.old, b"kithkin succeed", succession_body(space, core, body), op.signature)
