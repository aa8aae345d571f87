"""The bytes of a backup: vectors, and what decoders do with anything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.errors import DecodeError, KithkinError
from identity.keystore import Cost
from sync.backup.format import (
    FRAME,
    HEADER,
    BackupKey,
    Contents,
    Header,
    Kind,
    Part,
    content_hash,
    decode_contents,
    decode_frame,
    decode_header,
    decode_rows,
    encode_contents,
    encode_end,
    encode_rows,
    key_of,
    new_header,
)
from tests.support.vectors import matches

CHEAP = Cost(1, 8)
ROWS = [(b"key", b"value"), (b"\x00", b"")]
PART = Part(4, b"\x00\x00\x00\x01", 2, HEADER, len(encode_rows(ROWS)), content_hash(encode_rows(ROWS)))
CONTENTS = Contents(
    3, 1_790_000_000_000, b"\x01" * 32, b"\x02" * 32, 7, PART.length, ((b"\x03" * 32, "Boats"),), (PART,)
)


def fixed(size: int) -> bytes:
    return bytes(range(size))


def test_records_match_their_vectors() -> None:
    header, key = new_header("correct horse", fixed, CHEAP)
    rows = key.seal(Kind.ROWS, HEADER, encode_rows(ROWS), b"\x05" * 24)
    held = matches(
        "backup",
        {
            "passphrase": "correct horse",
            "header": header.encode().hex(),
            "rows": encode_rows(ROWS).hex(),
            "record": rows.hex(),
            "contents": encode_contents(CONTENTS).hex(),
            "end": encode_end(HEADER + len(rows)).hex(),
        },
    )
    read = decode_header(bytes.fromhex(held["header"]))
    assert read == header
    kind, length, nonce = decode_frame(bytes.fromhex(held["record"])[:FRAME])
    data = key_of(read, held["passphrase"]).open(kind, HEADER, nonce, bytes.fromhex(held["record"])[FRAME:])
    assert (kind, length, list(decode_rows(data))) == (Kind.ROWS, len(data), ROWS)
    assert decode_contents(bytes.fromhex(held["contents"])) == CONTENTS


def test_a_record_opens_at_its_own_place_and_as_its_own_kind_alone() -> None:
    _, key = new_header("x", fixed, CHEAP)
    sealed = key.seal(Kind.ROWS, 100, b"rows", b"\x05" * 24)[FRAME:]
    assert key.open(Kind.ROWS, 100, b"\x05" * 24, sealed) == b"rows"
    for kind, place, nonce in (
        (Kind.ROWS, 101, b"\x05" * 24),
        (Kind.CONTENTS, 100, b"\x05" * 24),
        (Kind.ROWS, 100, bytes(24)),
    ):
        with pytest.raises(DecodeError):
            key.open(kind, place, nonce, sealed)


def test_a_wrong_passphrase_is_told_from_damage() -> None:
    header, _ = new_header("right", fixed, CHEAP)
    with pytest.raises(KithkinError) as wrong:
        key_of(header, "wrong")
    assert wrong.value.code == "wrong_passphrase"
    with pytest.raises(KithkinError) as empty:
        new_header("", fixed, CHEAP)
    assert empty.value.code == "no_passphrase"


def test_every_byte_of_a_header_counts() -> None:
    data = new_header("x", fixed, CHEAP)[0].encode()
    assert len(data) == HEADER
    for place in range(len(data)):
        with pytest.raises(DecodeError):
            decode_header(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])


@pytest.mark.parametrize("cost", [Cost(0, 64), Cost(21, 64), Cost(1, 4), Cost(1, 2**31)])
def test_a_cost_that_we_would_not_run_is_refused_before_it_is_run(cost: Cost) -> None:
    data = Header(bytes(16), cost, bytes(16)).encode()
    with pytest.raises(DecodeError):
        decode_header(data)


def test_a_record_beyond_its_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(DecodeError):
        decode_frame((2**32 - 1).to_bytes(4, "little") + b"\x01" + bytes(24))
    with pytest.raises(DecodeError):
        decode_frame((8).to_bytes(4, "little") + b"\x09" + bytes(24))
    with pytest.raises(ValueError):
        BackupKey(bytes(32)).seal(Kind.END, 0, bytes(9), bytes(24))


@given(rows=st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=300)), max_size=30))
def test_rows_come_back(rows: list[tuple[bytes, bytes]]) -> None:
    assert list(decode_rows(encode_rows(rows))) == rows


DECODERS: list[Callable[[bytes], object]] = [
    decode_header,
    decode_frame,
    decode_contents,
    lambda data: list(decode_rows(data)),
]


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.binary(max_size=400))
def test_any_bytes_decode_or_raise_decode_error(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except DecodeError:
        return


def test_contents_end_where_they_end() -> None:
    with pytest.raises(DecodeError):
        decode_contents(encode_contents(CONTENTS) + b"\0")
    assert decode_contents(encode_contents(replace(CONTENTS, parts=()))).parts == ()
