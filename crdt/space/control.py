"""Control bodies as bytes (`docs/protocol.md`).

Body = parents | ops.  Eleven operations are known; one with another number is kept byte for byte, named, and ignored by
the fold, so a later version can add one.  Nothing here asks whether an operation has the right to count.
"""

from __future__ import annotations

from itertools import pairwise

from crdt.log.merkle import MAX_LENGTH
from crdt.space.operations import (
    CODES,
    Add,
    Admin,
    Admit,
    Close,
    ControlBody,
    ControlEntry,
    Create,
    Epoch,
    FeedEnd,
    Op,
    Parent,
    Revoke,
    Rostered,
    Set,
    Slots,
    SpaceKind,
    Succeed,
    Unknown,
    Witness,
)
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.kem import read_prekey
from identity.statement import MAX_STATEMENT, MAX_STATEMENT_SET, MAX_STATEMENTS

__all__ = [
    "CODES",
    "MAX_CLOSED",
    "MAX_DEVICES",
    "MAX_KEY",
    "MAX_MEMBERS",
    "MAX_OPS",
    "MAX_PARENTS",
    "MAX_ROSTER",
    "MAX_SUPERSEDED",
    "MAX_TITLE",
    "MAX_VALUE",
    "Add",
    "Admin",
    "Admit",
    "Close",
    "ControlBody",
    "ControlEntry",
    "Create",
    "Epoch",
    "FeedEnd",
    "Op",
    "Parent",
    "Revoke",
    "Rostered",
    "Set",
    "Slots",
    "SpaceKind",
    "Succeed",
    "Unknown",
    "Witness",
    "decode_control",
    "encode_control",
]

MAX_PARENTS = 1024  # tips that one entry joins; who has more writes a second entry
MAX_OPS = 64
MAX_MEMBERS = 50
MAX_DEVICES = 6  # writers of one member that get keys
MAX_ROSTER = MAX_MEMBERS * MAX_DEVICES
MAX_SUPERSEDED = 512
MAX_CLOSED = 256  # feeds that one close names
MAX_TITLE = 256  # bytes
MAX_KEY = 64
MAX_VALUE = 4096
MAX_UNKNOWN = 64 * 1024
MAX_OP = 128 * 1024


def encode_control(body: ControlBody) -> bytes:
    """The body of a plaintext of kind control.  Raises ValueError for what no reader would accept."""
    out = Writer()
    out.array(body.parents, lambda w, p: w.raw(p.core).uint(p.seq).raw(p.hash))
    out.array(body.ops, _write_op)
    made = out.finish()
    try:
        decode_control(made)
    except DecodeError as refused:
        raise ValueError(str(refused)) from None
    return made


def decode_control(data: bytes) -> ControlBody:
    """The inverse.  Raises DecodeError; unknown operations are kept."""
    reader = Reader(data)
    parents = tuple(reader.array(_read_parent, MAX_PARENTS))
    ops = tuple(reader.array(_read_op, MAX_OPS))
    reader.end()
    _ascend(parents, "parents")
    if not ops:
        raise DecodeError("a control entry does something")
    founding = sum(isinstance(op, Create | Add) for op in ops)
    if founding > 1 or sum(isinstance(op, Epoch) for op in ops) > 1:
        raise DecodeError("at most one create or add, and one epoch, an entry")
    return ControlBody(parents, ops)


def _read_parent(data: Reader) -> Parent:
    return Parent(data.fixed(32), data.uint(MAX_LENGTH - 1), data.fixed(32))


def _write_op(out: Writer, op: Op) -> None:
    body = Writer()
    if isinstance(op, Unknown):
        out.uint(op.code).buffer(op.data)
        return
    code = CODES.index(type(op))
    match op:
        case Create():
            body.fixed_uint(op.kind, 1).string(op.title).raw(op.identity)
            _write_device(body, op.device, op.statements, op.prekey)
        case Add():
            _write_device(body.raw(op.identity).raw(op.writer), op.device, op.statements, op.prekey)
            body.raw(op.consent)
        case Admit():
            _write_device(body.raw(op.writer), op.device, op.statements, op.prekey)
            body.raw(op.consent)
        case Close():
            body.fixed_uint(op.member is not None, 1).raw(op.member or b"").array(op.feeds, _write_end)
        case Admin():
            body.raw(op.member)
        case Set():
            body.string(op.key).buffer(op.value)
        case Epoch():
            body.array(op.roster, lambda w, r: w.raw(r.writer).raw(r.device))
            body.array(op.superseded, Writer.raw).raw(op.rendezvous).array(op.classical, Writer.uint)
        case Revoke():
            body.raw(op.device).array(op.statements, Writer.buffer)
        case Witness():
            _write_end(body, op.feed)
        case Succeed():
            _write_device(body.raw(op.old), op.device, op.statements, op.prekey)
            body.raw(op.signature)
        case Slots():
            body.raw(op.epoch).uint(op.seq)
    out.uint(code).buffer(body.finish())


def _read_op(data: Reader) -> Op:
    code = data.uint()
    if code >= len(CODES):
        return Unknown(code, data.buffer(MAX_UNKNOWN))
    body = Reader(data.buffer(MAX_OP))
    op = _READERS[code](body)
    body.end()
    return op


def _write_device(out: Writer, device: bytes, statements: tuple[bytes, ...], prekey: bytes) -> None:
    out.raw(device).array(statements, Writer.buffer).buffer(prekey)


def _read_device(data: Reader) -> tuple[bytes, tuple[bytes, ...], bytes]:
    return data.fixed(32), _read_statements(data), read_prekey(data)


def _read_statements(data: Reader) -> tuple[bytes, ...]:
    statements = tuple(data.array(lambda r: r.buffer(MAX_STATEMENT), MAX_STATEMENTS))
    if sum(map(len, statements)) > MAX_STATEMENT_SET:
        raise DecodeError("too many bytes of statements")
    return statements


def _write_end(out: Writer, feed: FeedEnd) -> None:
    out.raw(feed.writer).uint(feed.length).raw(feed.root)


def _read_end(data: Reader) -> FeedEnd:
    feed = FeedEnd(data.fixed(32), data.uint(MAX_LENGTH), data.fixed(32))
    if feed.length == 0 and any(feed.root):
        raise DecodeError("length 0 has no tree hash but zeros")
    return feed


def _read_create(data: Reader) -> Create:
    kind = data.fixed_uint(1)
    if kind > SpaceKind.GROUP:
        raise DecodeError("unknown kind of space")
    title, identity = data.string(MAX_TITLE), data.fixed(32)
    return Create(SpaceKind(kind), title, identity, *_read_device(data))


def _read_add(data: Reader) -> Add:
    return Add(data.fixed(32), data.fixed(32), *_read_device(data), data.fixed(64))


def _read_admit(data: Reader) -> Admit:
    return Admit(data.fixed(32), *_read_device(data), data.fixed(64))


def _read_close(data: Reader) -> Close:
    member = data.fixed(32) if data.flag() else None
    feeds = tuple(data.array(_read_end, MAX_CLOSED))
    _ascend(tuple(feed.writer for feed in feeds), "closed feeds")
    return Close(member, feeds)


def _read_admin(data: Reader) -> Admin:
    return Admin(data.fixed(32))


def _read_set(data: Reader) -> Set:
    return Set(data.string(MAX_KEY), data.buffer(MAX_VALUE))


def _read_epoch(data: Reader) -> Epoch:
    roster = tuple(data.array(lambda r: Rostered(r.fixed(32), r.fixed(32)), MAX_ROSTER))
    superseded = tuple(data.array(lambda r: r.fixed(32), MAX_SUPERSEDED))
    _ascend(tuple(place.writer for place in roster), "a roster")
    _ascend(superseded, "superseded epochs")
    check = data.fixed(32)
    classical = tuple(data.array(lambda r: r.uint(MAX_ROSTER), MAX_ROSTER))
    _ascend(classical, "places")
    if classical and classical[-1] >= len(roster):
        raise DecodeError("a place beyond the roster")
    return Epoch(roster, superseded, check, classical)


def _read_revoke(data: Reader) -> Revoke:
    return Revoke(data.fixed(32), _read_statements(data))


def _read_witness(data: Reader) -> Witness:
    feed = _read_end(data)
    if feed.length == 0:
        raise DecodeError("nothing to witness")
    return Witness(feed)


def _read_succeed(data: Reader) -> Succeed:
    return Succeed(data.fixed(32), *_read_device(data), data.fixed(64))


def _read_slots(data: Reader) -> Slots:
    return Slots(data.fixed(32), data.uint(MAX_LENGTH - 1))


def _ascend(values: tuple[object, ...], what: str) -> None:
    if any(not a < b for a, b in pairwise(values)):  # type: ignore[operator]  # tuples of one sortable type
        raise DecodeError(f"{what} ascend")


_READERS = (
    _read_create,
    _read_add,
    _read_admit,
    _read_close,
    _read_admin,
    _read_set,
    _read_epoch,
    _read_revoke,
    _read_witness,
    _read_succeed,
    _read_slots,
)
