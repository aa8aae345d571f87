"""Device records: signed, sealed, the latest counter wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt.log.head import HeadRef
from crdt.log.merkle import MAX_LENGTH
from crdt.space.erasures import ERASURES, MAX_FEEDS, MAX_WAITING, Erased, decode_erasures, encode_erasures
from crdt.space.proof import MAX_PROOFS, PROOF, PROOFS, encode_proofs, writer_proof
from crdt.space.record import (
    MAX_FRONTIER,
    MAX_HINT,
    MAX_HINTS,
    MAX_OPENED,
    MAX_RANGES,
    MAX_RECORD,
    DeviceRecord,
    Range,
    Report,
    decode_record,
    decode_report,
    encode_record,
    encode_report,
    open_record,
    seal_record,
)
from identity.errors import DecodeError
from identity.extension import MAX_EXTENSION, MAX_EXTENSIONS, Extension
from identity.keys import SigningKey
from tests.support.vectors import matches

W = SigningKey.from_seed(bytes(range(32)))
SPACE, SECRET, OTHER = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
REPORT = Report(
    at=1_790_000_000_000,
    stored=(HeadRef(bytes([1]) * 8, 5, bytes([9]) * 16), HeadRef(bytes([2]) * 8, 70_000, bytes([8]) * 16)),
    opened=(HeadRef(bytes([1]) * 8, 4, bytes([7]) * 16),),
    missing=(Range(bytes([1]) * 8, 4, 5),),
    prekey=bytes([5]) * 32,
    transports=(bytes([6]) * 32, bytes([7]) * 32),
    hints=("192.0.2.1:49737", "[2001:db8::1]:49737"),
    epochs=(bytes([4]) * 8,),
    extensions=(
        Extension(ERASURES, encode_erasures((Erased(bytes([1]) * 8, 5), Erased(bytes([2]) * 8, 70_000, (3, 69_000))))),
        Extension(PROOFS, encode_proofs([writer_proof(SECRET, SPACE, W.public, OTHER)])),
        Extension(900, b"of a later version"),
    ),
)


def record(counter: int = 3, report: Report = REPORT) -> DeviceRecord:
    return seal_record(W, SPACE, SECRET, counter, report)


def test_device_record_opens_only_under_its_epoch_and_space() -> None:
    made = record()
    assert made.verify()
    assert open_record(made, SPACE, SECRET) == REPORT
    assert open_record(made, SPACE, OTHER) is None
    with pytest.raises(DecodeError):
        open_record(made, OTHER, SECRET)


def test_altered_device_record_does_not_verify() -> None:
    made = record()
    for changed in (
        replace(made, counter=4),
        replace(made, tag=bytes(8)),
        replace(made, opening=bytes(32)),
        replace(made, ciphertext=made.ciphertext[:-1] + b"\0"),
        replace(made, writer=SigningKey.from_seed(OTHER).public),
    ):
        assert not changed.verify()


def test_device_record_with_the_higher_counter_is_newer() -> None:
    assert record(4).newer(record(3)) and not record(3).newer(record(3)) and record(0).newer(None)


def test_reused_counter_gives_a_different_nonce() -> None:
    one, two = record(), record(report=replace(REPORT, at=1))
    assert one.tag == two.tag and one.opening[:24] != two.opening[:24]


def test_device_records_are_padded_to_one_size() -> None:
    short = replace(REPORT, hints=REPORT.hints[:1], missing=())
    assert len(record().ciphertext) == len(record(report=short).ciphertext) == 16 + 384


@pytest.mark.parametrize(
    "report",
    [
        replace(REPORT, hints=("h:1",) * 9),
        replace(REPORT, hints=("x" * 65,)),
        replace(REPORT, stored=REPORT.stored[::-1]),
        replace(REPORT, stored=REPORT.stored[:1] * 2),
        replace(REPORT, missing=(Range(bytes(8), 4, 4),)),
        replace(REPORT, epochs=(bytes(8),) * 33),
        replace(REPORT, extensions=(Extension(1, bytes(MAX_EXTENSION + 1)),)),
        replace(REPORT, extensions=tuple(Extension(kind, b"") for kind in range(MAX_EXTENSIONS + 1))),
        replace(REPORT, extensions=(Extension(4, b""), Extension(3, b""))),
        replace(REPORT, extensions=(Extension(4, b""), Extension(4, b""))),
        replace(REPORT, extensions=tuple(Extension(kind, bytes(MAX_EXTENSION)) for kind in range(MAX_EXTENSIONS))),
    ],
)
def test_device_report_over_its_bounds_is_refused(report: Report) -> None:
    with pytest.raises(ValueError):
        encode_report(report)


def heads(count: int) -> tuple[HeadRef, ...]:
    return tuple(HeadRef(number.to_bytes(8, "big"), MAX_LENGTH, bytes(16)) for number in range(count))


def test_fullest_device_record_has_room_for_12_kib_of_extensions_within_64_kib() -> None:
    full = Report(
        at=2**64 - 1,
        stored=heads(MAX_FRONTIER),
        opened=heads(MAX_FRONTIER),
        missing=(Range(bytes(8), MAX_LENGTH // 2, MAX_LENGTH),) * MAX_RANGES,
        prekey=bytes(32),
        transports=(bytes(32), bytes(32)),
        hints=("h" * MAX_HINT,) * MAX_HINTS,
        epochs=(bytes(8),) * MAX_OPENED,
        extensions=tuple(Extension(kind, bytes(MAX_EXTENSION)) for kind in range(1, 4)),
    )
    made = encode_record(record(2**53 - 1, full))
    assert len(made) <= MAX_RECORD
    assert open_record(decode_record(made), SPACE, SECRET) == full
    with pytest.raises(ValueError):
        record(4, replace(full, extensions=(*full.extensions, Extension(4, bytes(MAX_EXTENSION)))))


def test_device_record_over_64_kib_is_refused_before_it_is_read() -> None:
    with pytest.raises(DecodeError):
        decode_record(encode_record(record()) + bytes(MAX_RECORD))


def test_extensions_of_unknown_kinds_are_kept_as_received() -> None:
    later = replace(REPORT, extensions=(Extension(1, b"one"), Extension(2, b""), Extension(2**53 - 1, b"three")))
    assert open_record(record(report=later), SPACE, SECRET) == later
    assert later.erasures == ()


def test_erasures_name_deletions_carried_out_by_an_end_and_its_exceptions() -> None:
    other, behind = REPORT.erasures
    assert [other.holds(seq) for seq in (0, 4, 5)] == [True, True, False]
    assert [behind.holds(seq) for seq in (2, 3, 69_000, 69_999, 70_000)] == [True, False, False, True, False]


@pytest.mark.parametrize(
    "erasures",
    [
        (Erased(bytes(8), 0),),
        (Erased(bytes(8), MAX_LENGTH + 1),),
        (Erased(bytes(8), 9, (4, 4)),),
        (Erased(bytes(8), 9, (5, 4)),),
        (Erased(bytes(8), 9, (9,)),),
        (Erased(bytes(8), 2 * MAX_WAITING, tuple(range(MAX_WAITING + 1))),),
        (Erased(bytes([2]) * 8, 9), Erased(bytes([1]) * 8, 9)),
        (Erased(bytes(8), 9), Erased(bytes(8), 9)),
        tuple(Erased(number.to_bytes(8, "big"), 1) for number in range(MAX_FEEDS + 1)),
    ],
)
def test_erasures_over_their_bounds_are_refused(erasures: tuple[Erased, ...]) -> None:
    with pytest.raises(ValueError):
        encode_erasures(erasures)


def test_malformed_erasures_say_nothing_and_spoil_no_record() -> None:
    broken = replace(REPORT, extensions=(Extension(ERASURES, b"\x01"),))
    read = open_record(record(report=broken), SPACE, SECRET)
    assert read == broken and read.erasures == ()
    assert decode_erasures(b"\0") == ()


def test_a_proof_is_for_one_reader_one_writer_and_one_space() -> None:
    one, other = SigningKey.from_seed(bytes([1]) * 32).public, SigningKey.from_seed(bytes([2]) * 32).public
    made = writer_proof(SECRET, SPACE, one, other)
    assert len(made) == PROOF and made == writer_proof(SECRET, SPACE, one, other)
    changed = [(OTHER, SPACE, one, other), (SECRET, OTHER, one, other), (SECRET, SPACE, other, one)]
    assert made not in {writer_proof(*parts) for parts in changed}


def test_proofs_in_a_record_are_told_and_malformed_ones_say_nothing() -> None:
    given = [writer_proof(SECRET, SPACE, n.to_bytes(32, "big"), W.public) for n in range(MAX_PROOFS)]
    full = replace(REPORT, extensions=(Extension(PROOFS, encode_proofs(given)),))
    assert open_record(record(report=full), SPACE, SECRET) == full and full.proofs == frozenset(given)
    for body in (b"", b"\x02" + given[0] * 2, encode_proofs(given) + b"\0", b"\xfd\x2d\x01" + bytes(12) * 301):
        assert replace(REPORT, extensions=(Extension(PROOFS, body),)).proofs == frozenset()


def test_device_record_bytes_equal_the_recorded_vectors() -> None:
    made = record()
    vector = {
        "writer seed": W.seed.hex(),
        "space": SPACE.hex(),
        "E": SECRET.hex(),
        "counter": 3,
        "DH of the two D": SECRET.hex(),
        "W of the reader": OTHER.hex(),
        "proof": writer_proof(SECRET, SPACE, W.public, OTHER).hex(),
        "report": encode_report(REPORT).hex(),
        "record": encode_record(made).hex(),
    }
    kept = matches("space-record", [vector])[0]
    read = decode_record(bytes.fromhex(kept["record"]))
    assert read == made and read.verify()
    report = open_record(read, SPACE, bytes.fromhex(kept["E"]))
    assert report == decode_report(bytes.fromhex(kept["report"])) == REPORT
