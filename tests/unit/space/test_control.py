"""Control bodies: exact bytes, bounds, canonical order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crdt.log.entry import MAX_GRANT
from crdt.space.control import (
    MAX_PARENTS,
    Add,
    Admin,
    Admit,
    Close,
    ControlBody,
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
    decode_control,
    encode_control,
)
from identity.codec import Writer
from identity.errors import DecodeError
from tests.support.vectors import matches


def b(k: int, size: int = 32) -> bytes:
    return bytes((k,)) * size


OPS: dict[str, Op] = {
    "create": Create(SpaceKind.GROUP, "Walks", b(1), b(2), (b"statement",), b(3)),
    "add": Add(b(1), b(4), b(2), (b"one", b"two"), b(3), b(5, 64)),
    "admit": Admit(b(4), b(2), (), b(3), b(5, 64)),
    "close of own": Close(None, (FeedEnd(b(4), 0, bytes(32)), FeedEnd(b(5), 300, b(6)))),
    "close of a member": Close(b(7), (FeedEnd(b(4), 1, b(6)),)),
    "admin": Admin(b(7)),
    "set": Set("title", b"Walks"),
    "admit of a device with K": Admit(b(4), b(2), (), b(3) + bytes(range(32)) * 37, b(5, 64)),
    "epoch": Epoch((Rostered(b(4), b(2)), Rostered(b(5), b(2))), (b(8), b(9)), b(10)),
    "epoch with a device without K": Epoch((Rostered(b(4), b(2)), Rostered(b(5), b(2))), (), b(10), (1,)),
    "slots": Slots(b(8), 70_000),
    "revoke": Revoke(b(2), (b"revocation",)),
    "witness": Witness(FeedEnd(b(4), 70_000, b(6))),
    "succeed": Succeed(b(4), b(2), (b"statement",), b(3), b(5, 64)),
    "of a later version": Unknown(12, b"\x01\x02"),
}
PARENTS = (Parent(b(1), 0, b(2)), Parent(b(1), 70_000, b(1)), Parent(b(2), 3, b(1)))


def test_control_bytes_equal_the_recorded_vectors() -> None:
    made = [{"name": n, "body": encode_control(ControlBody(PARENTS, (op,))).hex()} for n, op in OPS.items()]
    for vector in matches("space-control", made):
        assert decode_control(bytes.fromhex(vector["body"])) == ControlBody(PARENTS, (OPS[vector["name"]],))


def test_unknown_operation_is_preserved_when_reencoded() -> None:
    data = encode_control(ControlBody((), (OPS["of a later version"], OPS["set"])))
    assert encode_control(decode_control(data)) == data


def raw(*ops: Callable[[Writer], object], parents: bytes = b"\0") -> bytes:
    out = Writer().raw(parents).uint(len(ops))
    for op in ops:
        op(out)
    return out.finish()


def op(code: int, data: bytes) -> Callable[[Writer], object]:
    return lambda out: out.uint(code).buffer(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        raw(),
        raw(op(4, b(1)), parents=b"\x02" + 2 * (b(1) + b"\0" + b(2))),  # a parent twice
        raw(op(4, b(1)), parents=b"\x02" + b(2) + b"\0" + b(2) + b(1) + b"\0" + b(2)),  # out of order
        raw(op(4, b(1))) + b"\0",
        raw(op(4, b(1) + b"\0")),
        raw(op(4, b(1)[:31])),
        raw(op(0, b"\x04" + bytes(200))),
        raw(op(0, b"\x00\x02\xff\xfe" + bytes(97))),  # a title that is no text
        raw(op(3, b"\x02\0")),
        raw(op(3, b"\0\x01" + b(1) + b"\0" + b(1))),  # length 0 with a tree hash
        raw(op(3, b"\0\x02" + 2 * (b(1) + b"\x01" + b(1)))),  # one feed twice
        raw(op(6, b"\x02" + 2 * (b(1) + b(2)) + b"\0" + b(3) + b"\0")),
        raw(op(6, b"\0\x02" + 2 * b(1) + b(3) + b"\0")),
        raw(op(6, b"\x01" + b(1) + b(2) + b"\0" + b(3) + b"\x01\x01")),  # a place beyond the roster
        raw(op(6, b"\x01" + b(1) + b(2) + b"\0" + b(3) + b"\x02\0\0")),  # a place twice
        raw(op(2, b(1) + b(2) + b"\0" + b"\x21" + bytes(33) + bytes(64))),  # a prekey of 33 bytes
        raw(op(2, b(1) + b(2) + b"\0" + b"\xfd\xa0\x04" + bytes(1184) + bytes(64))),  # K without P
        raw(op(10, b(1))),
        raw(op(10, b(1) + b"\xff" + bytes(7) + b"\x01")),
        raw(op(8, b(1) + b"\0" + bytes(32))),
        raw(op(12, bytes(64 * 1024 + 1))),
        raw(op(5, b"\x01k" + b"\xfd\x01\x10" + bytes(4097))),
        raw(*[op(4, b(1))] * 65),
        raw(op(4, b(1)), parents=b"\xfd\x01\x04" + bytes(10)),
    ],
)
def test_noncanonical_control_bodies_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_control(data)


@pytest.mark.parametrize(("one", "two"), [("create", "add"), ("add", "add"), ("epoch", "epoch")])
def test_entry_holds_at_most_one_admission_and_one_epoch(one: str, two: str) -> None:
    with pytest.raises(ValueError, match="at most one"):
        encode_control(ControlBody((), (OPS[one], OPS[two])))


def test_the_largest_epoch_fits_an_entry() -> None:
    roster = tuple(Rostered(k.to_bytes(32, "big"), b(2)) for k in range(300))
    parents = tuple(Parent(k.to_bytes(32, "big"), 70_000, b(1)) for k in range(MAX_PARENTS))
    over = tuple(k.to_bytes(32, "big") for k in range(512))
    data = encode_control(ControlBody(parents, (Epoch(roster, over, b(3), tuple(range(300))),)))
    assert len(data) + MAX_GRANT < 220 * 1024
    with pytest.raises(ValueError):
        encode_control(ControlBody((), (Epoch((*roster, Rostered(b(255), b(2))), (), b(3)),)))
