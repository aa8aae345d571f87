"""Every decoder of a space gives a value or a DecodeError for any bytes; what it gives encodes to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crdt.log.head import HeadRef
from crdt.space.control import (
    CODES,
    Add,
    Admin,
    Admit,
    Close,
    ControlBody,
    Create,
    Epoch,
    FeedEnd,
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
from crdt.space.erasures import Erased, decode_erasures, encode_erasures
from crdt.space.grant import EpochGrant, Slot, decode_grant, encode_grant
from crdt.space.record import (
    DeviceRecord,
    Range,
    Report,
    decode_record,
    decode_report,
    encode_record,
    encode_report,
)
from identity.errors import DecodeError
from identity.extension import Extension

LENGTHS = st.integers(1, 2**40)
b8, b16, b32, b64 = (st.binary(min_size=n, max_size=n) for n in (8, 16, 32, 64))
prekeys = st.one_of(b32, st.binary(min_size=1216, max_size=1216))
statements = st.lists(st.binary(max_size=80), max_size=4).map(tuple)
ends = st.one_of(st.builds(FeedEnd, b32, LENGTHS, b32), st.builds(FeedEnd, b32, st.just(0), st.just(bytes(32))))
plain_ops = st.one_of(
    st.builds(Admit, b32, b32, statements, prekeys, b64),
    st.builds(
        Close,
        st.none() | b32,
        st.lists(ends, max_size=5, unique_by=lambda e: e.writer).map(lambda e: tuple(sorted(e))),
    ),
    st.builds(Admin, b32),
    st.builds(Set, st.text(max_size=10), st.binary(max_size=100)),
    st.builds(Revoke, b32, statements),
    st.builds(Witness, st.builds(FeedEnd, b32, LENGTHS, b32)),
    st.builds(Succeed, b32, b32, statements, prekeys, b64),
    st.builds(Slots, b32, st.integers(0, 2**40 - 1)),
    st.builds(Unknown, st.integers(len(CODES), 2**53 - 1), st.binary(max_size=100)),
)
founding = st.one_of(
    st.builds(Create, st.sampled_from(SpaceKind), st.text(max_size=40), b32, b32, statements, prekeys),
    st.builds(Add, b32, b32, b32, statements, prekeys, b64),
)
rosters = st.lists(st.builds(Rostered, b32, b32), max_size=5, unique_by=lambda r: r.writer).map(
    lambda r: tuple(sorted(r))
)
epochs = rosters.flatmap(
    lambda roster: st.builds(
        Epoch,
        st.just(roster),
        st.sets(b32, max_size=5).map(lambda s: tuple(sorted(s))),
        b32,
        st.sets(st.sampled_from(range(len(roster)))).map(lambda s: tuple(sorted(s))) if roster else st.just(()),
    )
)
bodies = st.builds(
    ControlBody,
    st.sets(st.builds(Parent, b32, st.integers(0, 2**40 - 1), b32), max_size=6).map(lambda p: tuple(sorted(p))),
    st.tuples(
        st.lists(founding, max_size=1), st.lists(plain_ops, min_size=1, max_size=6), st.lists(epochs, max_size=1)
    ).map(lambda parts: (*parts[0], *parts[1], *parts[2])),
)
grants = st.builds(
    EpochGrant,
    b32,
    st.binary(min_size=48, max_size=48),
    st.lists(
        st.builds(
            Slot,
            b8,
            st.one_of(
                st.just(b""),
                st.binary(min_size=1088, max_size=1088),
                st.sampled_from([seq.to_bytes(8, "little") for seq in (0, 1, 70_000, (1 << 40) - 1)]),
            ),
            st.binary(min_size=48, max_size=48),
        ),
        max_size=9,
    ).map(lambda slots: tuple(sorted(slots, key=lambda slot: slot.hint))),
)
refs = st.builds(HeadRef, b8, LENGTHS, b16)
frontiers = st.lists(refs, max_size=8, unique_by=lambda h: h.core8).map(
    lambda heads: tuple(sorted(heads, key=lambda h: h.core8))
)
ranges = st.builds(
    lambda core8, start, count: Range(core8, start, start + count), b8, st.integers(0, 2**39), st.integers(1, 2**39)
)
reports = st.builds(
    Report,
    st.integers(0, 2**64 - 1),
    frontiers,
    frontiers,
    st.lists(ranges, max_size=5).map(tuple),
    prekeys,
    st.tuples(b32, b32),
    st.lists(st.text(max_size=16), max_size=8).map(tuple),
    st.lists(b8, max_size=32).map(tuple),
    st.lists(
        st.builds(Extension, st.integers(0, 2**53 - 1), st.binary(max_size=40)), max_size=4, unique_by=lambda e: e.kind
    ).map(lambda found: tuple(sorted(found, key=lambda e: e.kind))),
)
erasures = st.lists(
    st.builds(
        lambda core8, waiting, more: Erased(core8, max(waiting, default=0) + more, tuple(sorted(waiting))),
        b8,
        st.sets(st.integers(0, 2**39), max_size=5),
        st.integers(1, 2**39),
    ),
    max_size=5,
    unique_by=lambda e: e.core8,
).map(lambda found: tuple(sorted(found, key=lambda e: e.core8)))
records = st.builds(DeviceRecord, b32, st.integers(0, 2**53 - 1), b8, b32, st.binary(min_size=16, max_size=300), b64)


def read(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], data: bytes) -> None:
    try:
        value = decode(data)
    except DecodeError:
        return
    assert encode(value) == data


@given(bodies)
def test_control_body_decodes_to_what_was_encoded(body: ControlBody) -> None:
    assert decode_control(encode_control(body)) == body


@given(grants)
def test_grant_decodes_to_what_was_encoded(grant: EpochGrant) -> None:
    assert decode_grant(encode_grant(grant)) == grant


@given(reports)
def test_device_report_decodes_to_what_was_encoded(report: Report) -> None:
    assert decode_report(encode_report(report)) == report


@given(erasures)
def test_erasures_decode_to_what_was_encoded(found: tuple[Erased, ...]) -> None:
    assert decode_erasures(encode_erasures(found)) == found


@given(records)
def test_device_record_decodes_to_what_was_encoded(record: DeviceRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=400))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    read(decode_control, encode_control, data)
    read(decode_grant, encode_grant, data)
    read(decode_report, encode_report, data)
    read(decode_erasures, encode_erasures, data)
    read(decode_record, encode_record, data)
    read(decode_record, encode_record, b"\x00\x01" + data)


@given(bodies, st.data())
def test_damaged_control_body_decodes_or_raises_decode_error(body: ControlBody, data: st.DataObject) -> None:
    read(decode_control, encode_control, damaged(encode_control(body), data))


@given(grants, reports, records, st.data())
def test_damaged_grants_and_records_decode_or_raise_decode_error(
    grant: EpochGrant, report: Report, record: DeviceRecord, data: st.DataObject
) -> None:
    read(decode_grant, encode_grant, damaged(encode_grant(grant), data))
    read(decode_report, encode_report, damaged(encode_report(report), data))
    read(decode_record, encode_record, damaged(encode_record(record), data))


def damaged(whole: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(whole) - 1))
    return data.draw(
        st.sampled_from(
            [
                whole[:at],
                whole + b"\0",
                whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :],
                whole[:at] + whole[at + 1 :],
            ]
        )
    )
