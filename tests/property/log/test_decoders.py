"""Every decoder of the log gives a value or a DecodeError for any bytes; what it gives encodes to the same bytes."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from crdt.log.entry import (
    GRANT_TAG,
    Kind,
    Plaintext,
    decode_plaintext,
    encode_plaintext,
    message_key,
    open_entry,
    read_block,
    seal_entry,
)
from crdt.log.head import HeadRef, read_head, write_head
from crdt.log.item import Item, item_of, reseal
from crdt.log.pack import decode_pack, encode_pack, open_pack, seal_pack
from crdt.log.padding import pad, unpad
from crdt.log.stamp import MAX_STAMP
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.extension import Extension

KEY, CORE, SPACE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
any_bytes = st.binary(max_size=600)
refs = st.builds(HeadRef, st.binary(min_size=8, max_size=8), st.integers(1, 2**40), st.binary(min_size=16, max_size=16))
plaintexts = st.builds(
    Plaintext,
    st.sampled_from(Kind),
    st.integers(0, MAX_STAMP),
    st.lists(refs, max_size=16, unique_by=lambda head: head.core8).map(tuple),
    st.binary(max_size=3000),
    st.dictionaries(st.integers(0, 2**53 - 1), st.binary(max_size=300), max_size=4).map(
        lambda found: tuple(Extension(kind, body) for kind, body in sorted(found.items()))
    ),
)


@given(plaintexts, st.integers(0, 2**40 - 1), st.binary(max_size=300))
def test_sealed_entry_opens_to_the_same_plaintext(entry: Plaintext, seq: int, grant: bytes) -> None:
    text = encode_plaintext(entry)
    key, tag = message_key(KEY, CORE, seq)
    block = seal_entry(key, GRANT_TAG if grant else tag, CORE, SPACE, seq, text, grant)
    assert decode_plaintext(open_entry(key, CORE, SPACE, block)) == entry
    assert reseal(item_of(block, key, CORE, SPACE), SPACE) == block


@given(any_bytes)
def test_any_bytes_as_plaintext_decode_or_raise_decode_error(data: bytes) -> None:
    try:
        entry = decode_plaintext(data)
    except DecodeError:
        return
    assert encode_plaintext(entry) == data


@given(any_bytes | any_bytes.map(lambda data: b"\x00\x01" + data))
def test_any_bytes_as_block_decode_or_raise_decode_error(data: bytes) -> None:
    try:
        header = read_block(data)
        assert 0 < header.at < len(data)
        open_entry(KEY, CORE, SPACE, data)
    except DecodeError:
        return


@given(any_bytes)
def test_any_bytes_as_padding_decode_or_raise_decode_error(data: bytes) -> None:
    try:
        assert pad(unpad(data)) == data
    except DecodeError:
        return


@given(any_bytes)
def test_any_bytes_as_head_decode_or_raise_decode_error(data: bytes) -> None:
    reader = Reader(data)
    try:
        head = read_head(reader)
        reader.end()
    except DecodeError:
        return
    assert not head.verify()
    assert write_head(Writer(), head).finish() == data


@given(any_bytes, st.binary(max_size=100).map(zlib.compress), st.integers(0, 3))
def test_any_bytes_as_pack_decode_or_raise_decode_error(data: bytes, stream: bytes, items: int) -> None:
    head = Writer().raw(b"\x00\x01").uint(1).raw(CORE).uint(1).uint(0).uint(5).uint(items).raw(bytes([7]) * 40 * items)
    for blob in (data, b"\x00\x01" + data, head.uint(len(zlib.decompress(stream))).raw(stream).finish()):
        try:
            found = decode_pack(blob)
        except DecodeError:
            continue
        assert decode_pack(encode_pack(found)) == found
    try:
        open_pack(data.ljust(65_536, b"\x00"), KEY)
    except DecodeError:
        return


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.binary(max_size=50), st.binary(max_size=5))))
def test_pack_returns_any_items_unchanged(parts: list[tuple[int, int, bytes, bytes]]) -> None:
    items = [
        Item(bytes([core]) * 32, seq, GRANT_TAG if grant else b"epochtag", KEY, text, grant)
        for core, seq, text, grant in parts
    ]
    assert decode_pack(open_pack(seal_pack(encode_pack(items), KEY), KEY)) == items
