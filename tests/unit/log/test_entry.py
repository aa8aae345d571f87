"""Entries, items and packs: deterministic, committed to key and text, bounded."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from crdt.log import cipher, pack
from crdt.log.entry import (
    GRANT_TAG,
    MAX_BLOCK,
    Kind,
    Plaintext,
    decode_plaintext,
    encode_plaintext,
    message_key,
    open_entry,
    opening_of,
    read_block,
    seal_entry,
)
from crdt.log.head import HeadRef
from crdt.log.item import Item, item_of, reseal
from crdt.log.merkle import leaf_hash
from crdt.log.padding import pad, padded_size, unpad
from crdt.log.stamp import MAX_STAMP
from identity import seal as slow
from identity.codec import Writer
from identity.errors import DecodeError
from identity.extension import Extension
from tests.support.vectors import matches

EPOCH, CORE, SPACE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
HEAD = HeadRef(bytes([4]) * 8, 300, bytes([5]) * 16)
TEXT = encode_plaintext(Plaintext(Kind.UPDATE, 1_790_000_000_000 << 16 | 3, (HEAD,), b"hello"))


def sealed(seq: int, plaintext: bytes = TEXT) -> bytes:
    return seal_entry(*message_key(EPOCH, CORE, seq), CORE, SPACE, seq, plaintext)


def refused(key: bytes, core: bytes, space: bytes, block: bytes) -> bool:
    try:
        open_entry(key, core, space, block)
    except DecodeError:
        return True
    return False


def test_entry_opens_only_at_its_own_feed_position() -> None:
    block = sealed(7)
    key, tag = message_key(EPOCH, CORE, 7)
    header = read_block(block)
    assert (header.seq, header.tag, header.grant, len(block)) == (7, tag, b"", 43 + 256 + 16)
    assert read_block(block, 7) == header
    with pytest.raises(DecodeError):
        read_block(block, 8)
    assert open_entry(key, CORE, SPACE, block) == TEXT
    assert decode_plaintext(TEXT).heads == (HEAD,)
    assert refused(key, SPACE, SPACE, block)
    assert refused(key, CORE, CORE, block)
    assert refused(message_key(EPOCH, CORE, 8)[0], CORE, SPACE, block)
    assert refused(key, CORE, SPACE, block[:2] + b"\x08" + block[3:])
    touched = [block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :] for at in range(len(block))]
    assert all(refused(key, CORE, SPACE, other) for other in touched)
    assert all(refused(key, CORE, SPACE, block[:at]) for at in range(len(block)))


def test_sealing_is_deterministic_and_different_texts_get_different_nonces() -> None:
    assert sealed(7) == sealed(7)
    assert read_block(sealed(7)).opening[:24] != read_block(sealed(7, TEXT + b"!")).opening[:24]


def test_entry_with_a_chosen_nonce_is_refused_though_its_cipher_opens() -> None:
    """Whoever holds the key may choose any nonce; the opening must still be the one of the text."""
    key, tag = message_key(EPOCH, CORE, 7)
    wrong = bytes(32)
    header = bytes((0, 1, 7)) + tag + wrong
    block = header + cipher.seal(key, wrong[:24], pad(TEXT), header + CORE + SPACE)
    assert cipher.open_sealed(key, wrong[:24], block[43:], header + CORE + SPACE) == pad(TEXT)
    assert refused(key, CORE, SPACE, block)


def test_noncanonical_padding_is_refused_even_with_a_valid_commitment() -> None:
    key, tag = message_key(EPOCH, CORE, 7)
    for padded in (
        pad(TEXT)[:-1] + b"\x01",
        pad(TEXT) + bytes(128),
        (300).to_bytes(4, "little") + bytes(252),
        (2**32 - 1).to_bytes(4, "little") + bytes(252),
        bytes(300),
    ):
        opening = opening_of(key, CORE, 7, padded)
        header = bytes((0, 1, 7)) + tag + opening
        assert refused(key, CORE, SPACE, header + cipher.seal(key, opening[:24], padded, header + CORE + SPACE))


def test_padded_sizes_equal_the_specified_steps() -> None:
    lengths = [0, 252, 253, 380, 4092, 4093, 5000, 65_536, 200_000]
    sizes = [padded_size(length) for length in lengths]
    assert sizes == [256, 256, 384, 384, 4096, 4352, 5120, 67_584, 200_704]
    assert all(len(pad(bytes(length))) == size for length, size in zip(lengths, sizes, strict=True))
    assert unpad(pad(b"")) == b""
    for length in range(0, 70_000, 97):
        assert length + 4 <= padded_size(length) <= max(256, (length + 4) * 3 // 2)
    with pytest.raises(ValueError, match="longer"):
        pad(bytes(MAX_BLOCK))
    with pytest.raises(ValueError, match="longer"):
        seal_entry(*message_key(EPOCH, CORE, 0), CORE, SPACE, 0, bytes(MAX_BLOCK - 4))
    with pytest.raises(DecodeError):
        read_block(sealed(0) + bytes(MAX_BLOCK))


def test_altered_grant_keeps_an_entry_from_opening() -> None:
    grant = bytes(range(200))
    key, _ = message_key(EPOCH, CORE, 0)
    block = seal_entry(key, GRANT_TAG, CORE, SPACE, 0, TEXT, grant)
    header = read_block(block)
    assert (header.grant, header.tag) == (grant, GRANT_TAG)
    assert open_entry(key, CORE, SPACE, block) == TEXT
    at = block.index(grant)
    assert refused(key, CORE, SPACE, block[:at] + b"\xff" + block[at + 1 :])
    # a grant cannot be cut out, slipped in, or left empty
    with pytest.raises(ValueError, match="zero tag"):
        seal_entry(key, GRANT_TAG, CORE, SPACE, 0, TEXT)
    with pytest.raises(ValueError, match="zero tag"):
        seal_entry(*message_key(EPOCH, CORE, 0), CORE, SPACE, 0, TEXT, grant)
    for lying in (b"\x00", b"\xfe\xff\xff\xff\xff", b"\xfd\x00\x10"):
        with pytest.raises(DecodeError):
            read_block(block[:43] + lying + block[at:])


def test_malformed_plaintexts_are_refused() -> None:
    for data in (
        b"",
        TEXT[:9],
        b"\x04" + TEXT[1:],
        TEXT[:9] + b"\x11" + bytes(500),
        TEXT[:20],
        TEXT[:9] + b"\x02" + (bytes(8) + b"\x01" + bytes(16)) * 2,
        TEXT[:9] + b"\x01" + bytes(8) + b"\x00" + bytes(16),
        b"\x00" + bytes(8) + b"\x00",  # without a list of extensions
        b"\x00" + bytes(8) + b"\x00\x11" + bytes(500),
        b"\x00" + bytes(8) + b"\x00\x02\x05\x00\x05\x00",  # a kind twice
        b"\x00" + (MAX_STAMP + 1).to_bytes(8, "little") + b"\x00\x00",
        b"\x00" + b"\xff" * 8 + b"\x00\x00",
    ):
        with pytest.raises(DecodeError):
            decode_plaintext(data)
    with pytest.raises(ValueError, match="more heads"):
        encode_plaintext(Plaintext(Kind.MERGE, 1, (HEAD,) * 17, b""))
    with pytest.raises(ValueError, match="ceiling"):
        encode_plaintext(Plaintext(Kind.MERGE, MAX_STAMP + 1, (), b""))
    assert decode_plaintext(encode_plaintext(Plaintext(Kind.MERGE, MAX_STAMP, (), b""))).stamp == MAX_STAMP


def test_entry_bytes_equal_the_recorded_vectors() -> None:
    grant = bytes([9]) * 32 + b"\x01" + bytes([8]) * 88
    made: list[dict[str, str | int]] = []
    for seq, kind, body, ride in (
        (0, Kind.CONTROL, b"an epoch", grant),
        (1, Kind.UPDATE, b"hello", b""),
        (252, Kind.DELETION, bytes(300), b""),
        (253, Kind.MERGE, b"", b""),
        (70_000, Kind.UPDATE, bytes(5000), b""),
    ):
        more = (Extension(5, b"later"), Extension(300, b"")) if seq == 252 else ()
        stamp = MAX_STAMP if seq == 253 else 1_790_000_000_000 << 16 | seq % 7
        text = encode_plaintext(Plaintext(kind, stamp, (HEAD,) * (seq % 2), body, more))
        key, tag = message_key(EPOCH, CORE, seq)
        block = seal_entry(key, GRANT_TAG if ride else tag, CORE, SPACE, seq, text, ride)
        made.append(
            {
                "epoch key": EPOCH.hex(),
                "core": CORE.hex(),
                "space": SPACE.hex(),
                "seq": seq,
                "plaintext": text.hex(),
                "grant": ride.hex(),
                "key": key.hex(),
                "tag": tag.hex(),
                "block": block.hex(),
                "leaf": leaf_hash(block).hex(),
            }
        )
    for vector in matches("log-entry", made):
        block = bytes.fromhex(str(vector["block"]))
        key, _ = message_key(EPOCH, CORE, int(vector["seq"]))
        item = item_of(block, key, CORE, SPACE)
        assert item.plaintext.hex() == vector["plaintext"]
        assert encode_plaintext(decode_plaintext(item.plaintext)) == item.plaintext
        assert reseal(item, SPACE) == block


def history(count: int) -> list[Item]:
    return [item_of(sealed(seq), message_key(EPOCH, CORE, seq)[0], CORE, SPACE) for seq in range(count)]


def test_items_reseal_to_the_original_blocks() -> None:
    items = history(20)
    assert [reseal(item, SPACE) for item in items] == [sealed(seq) for seq in range(20)]
    assert leaf_hash(reseal(replace(items[3], plaintext=TEXT + b"!"), SPACE)) != leaf_hash(sealed(3))


def test_pack_returns_items_in_order() -> None:
    granted = item_of(_granted(), message_key(EPOCH, CORE, 0)[0], CORE, SPACE)
    items = [granted, *history(300)[1:], replace(history(1)[0], core=bytes(32)), *history(5)[3:]]
    blob = pack.encode_pack(items)
    wire = pack.seal_pack(blob, EPOCH)
    assert pack.decode_pack(pack.open_pack(wire, EPOCH)) == items
    assert len(wire) == pack.PAGE
    with pytest.raises(DecodeError):
        pack.open_pack(wire, CORE)
    with pytest.raises(DecodeError):
        pack.open_pack(wire[:-1] + bytes([wire[-1] ^ 1]), EPOCH)
    with pytest.raises(DecodeError):
        pack.open_pack(wire + bytes(pack.PAGE), EPOCH)
    assert pack.decode_pack(pack.encode_pack([])) == []


def test_history_is_split_into_packs_within_the_size_limit() -> None:
    items = [replace(item, plaintext=bytes(50_000)) for item in history(200)]
    groups = list(pack.group_items(items))
    assert [item for group in groups for item in group] == items
    assert len(groups) == 3
    assert all(pack.decode_pack(pack.encode_pack(group)) == group for group in groups)
    with pytest.raises(ValueError, match="more than a pack"):
        pack.encode_pack(items)


def test_packs_with_wrong_sizes_or_runs_are_refused() -> None:
    """A bomb, a wrong size in both directions, bytes behind the stream, runs of no feed and of too much."""

    def blob(runs: list[tuple[int, int, int]], size: int, stream: bytes, total: int = 1) -> bytes:
        out = Writer().raw(bytes((0, 1))).uint(1).raw(CORE).uint(len(runs))
        for core, seq, count in runs:
            out.uint(core).uint(seq).uint(count)
        return out.raw(bytes(range(1, 41)) * total).uint(size).raw(stream).finish()

    text = zlib.compress(b"\x05hello")
    assert pack.decode_pack(blob([(0, 9, 1)], 6, text))[0].plaintext == b"hello"
    for bad in (
        blob([(0, 9, 1)], 6, zlib.compress(bytes(2**26))),
        blob([(0, 9, 1)], 7, text),
        blob([(0, 9, 1)], 5, text),
        blob([(0, 9, 1)], 6, text + b"!"),
        blob([(0, 9, 1)], 6, text[:-1]),
        blob([(0, 9, 1)], 6, b"hello"),
        blob([(0, 9, 1)], 2**23, text),
        blob([(1, 9, 1)], 6, text),
        blob([(0, 9, 0)], 6, text),
        blob([(0, 9, 2**22)], 6, text),
        blob([(0, 2**40, 1)], 6, text),
        blob([(0, 9, 2)], 6, text, total=2),
        blob([(0, 9, 1)], 7, zlib.compress(b"\x05hello!")),
        b"\x00\x02" + blob([], 0, zlib.compress(b""))[2:],
        bytes(pack.MAX_SEALED + 1),
    ):
        with pytest.raises(DecodeError):
            pack.decode_pack(bad)


def test_pack_bytes_equal_the_recorded_vectors() -> None:
    """Written with stored deflate blocks, which every zlib makes alike; what `encode_pack` makes reads the same."""
    items = [item_of(_granted(), message_key(EPOCH, CORE, 0)[0], CORE, SPACE), *history(3)[1:]]
    texts = Writer().buffer(items[0].grant)
    for item in items:
        texts.buffer(item.plaintext)
    out = Writer().raw(b"\x00\x01").uint(1).raw(CORE).uint(1).uint(0).uint(0).uint(3)
    out.raw(b"".join(item.tag for item in items)).raw(b"".join(item.key for item in items))
    blob = out.uint(len(texts)).raw(zlib.compress(texts.finish(), 0)).finish()
    made: list[dict[str, str | int]] = [
        {
            "blob": blob.hex(),
            "key": EPOCH.hex(),
            "sealed opening": pack.seal_pack(blob, EPOCH)[2:34].hex(),
            "sealed hash": leaf_hash(pack.seal_pack(blob, EPOCH)).hex(),
            "space": SPACE.hex(),
            "blocks": "".join(reseal(item, SPACE).hex() for item in items),
        }
    ]
    for vector in matches("log-pack", made):
        found = pack.decode_pack(bytes.fromhex(str(vector["blob"])))
        assert found == items == pack.decode_pack(pack.encode_pack(items))
        assert "".join(reseal(item, SPACE).hex() for item in found) == vector["blocks"]


def _granted() -> bytes:
    return seal_entry(message_key(EPOCH, CORE, 0)[0], GRANT_TAG, CORE, SPACE, 0, TEXT, b"grant")


def test_log_cipher_equals_the_cipher_of_identity() -> None:
    for size in (0, 1, 300, 5000):
        text = bytes(size)
        direct = cipher.seal(EPOCH, bytes(24), text, CORE)
        assert direct == slow.seal(EPOCH, bytes(24), text, CORE)
        assert cipher.open_sealed(EPOCH, bytes(24), direct, CORE) == text
    for key, nonce, text in ((EPOCH, bytes(23), bytes(32)), (b"", bytes(24), bytes(32)), (EPOCH, bytes(24), bytes(15))):
        with pytest.raises(DecodeError):
            cipher.open_sealed(key, nonce, text, b"")
