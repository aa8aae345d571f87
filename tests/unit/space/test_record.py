"""Device records: signed, sealed, the latest counter wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt.log.head import HeadRef
from crdt.space.record import (
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
    short = replace(REPORT, hints=(), epochs=(), missing=())
    assert len(record().ciphertext) == len(record(report=short).ciphertext) == 16 + 256


@pytest.mark.parametrize(
    "report",
    [
        replace(REPORT, hints=("h:1",) * 9),
        replace(REPORT, hints=("x" * 65,)),
        replace(REPORT, stored=REPORT.stored[::-1]),
        replace(REPORT, stored=REPORT.stored[:1] * 2),
        replace(REPORT, missing=(Range(bytes(8), 4, 4),)),
        replace(REPORT, epochs=(bytes(8),) * 33),
    ],
)
def test_device_report_over_its_bounds_is_refused(report: Report) -> None:
    with pytest.raises(ValueError):
        encode_report(report)


def test_device_record_bytes_equal_the_recorded_vectors() -> None:
    made = record()
    vector = {
        "writer seed": W.seed.hex(),
        "space": SPACE.hex(),
        "E": SECRET.hex(),
        "counter": 3,
        "report": encode_report(REPORT).hex(),
        "record": encode_record(made).hex(),
    }
    kept = matches("space-record", [vector])[0]
    read = decode_record(bytes.fromhex(kept["record"]))
    assert read == made and read.verify()
    report = open_record(read, SPACE, bytes.fromhex(kept["E"]))
    assert report == decode_report(bytes.fromhex(kept["report"])) == REPORT
