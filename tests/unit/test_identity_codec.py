"""The codec's edges, keys from outside, and the registry of labels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from identity.codec import MAX_UINT, Reader, Writer
from identity.digest import base32, derive, digest, low53, shown_id, unbase32
from identity.errors import DecodeError
from identity.keys import AgreementKey, SigningKey, agree, check_point, to_agreement, verify, verify_raw
from identity.labels import Label
from identity.seal import open_sealed, seal


def test_labels_are_unique_after_padding() -> None:
    """BLAKE2b pads `person` with zeros to 16 bytes: two labels that differ only there would be one."""
    padded = [label.value.ljust(16, b"\0") for label in Label]
    assert all(0 < len(label.value) <= 16 and label.value[-1:] != b"\0" for label in Label)
    assert len(set(padded)) == len(padded) == len(Label.__members__), "an Enum makes an alias of an equal value"
    assert all(label.value.startswith(b"kithkin ") for label in Label)


def test_integers_are_accepted_only_in_their_shortest_form() -> None:
    table = {
        0: "00",
        0xFC: "fc",
        0xFD: "fdfd00",
        0xFFFF: "fdffff",
        0x10000: "fe00000100",
        0xFFFFFFFF: "feffffffff",
        0x100000000: "ff0000000001000000",
        MAX_UINT: "ffffffffffffff1f00",
    }
    for value, text in table.items():
        assert Writer().uint(value).finish().hex() == text
        assert Reader(bytes.fromhex(text)).uint() == value
    for text in ("fd0000", "fdfc00", "feffff0000", "ffffffffff00000000", "ff00000000000020ff", "fd01", "fe", ""):
        with pytest.raises(DecodeError):
            Reader(bytes.fromhex(text)).uint()
    assert Reader(bytes.fromhex("fd0100"), minimal=False).uint() == 1
    for bad in (-1, MAX_UINT + 1):
        with pytest.raises(ValueError):
            Writer().uint(bad)


def test_false_length_is_refused_before_allocation() -> None:
    lie = bytes.fromhex("ffffffffffffff1f00")
    reads: list[Callable[[Reader], object]] = [
        lambda r: r.buffer(MAX_UINT),
        lambda r: r.buffer(10),
        lambda r: r.string(MAX_UINT),
        lambda r: r.array(lambda x: x.fixed(1), MAX_UINT),
        lambda r: r.array(lambda x: x.fixed(1), 10),
    ]
    for read in reads:
        with pytest.raises(DecodeError):
            read(Reader(lie))
    more: list[tuple[bytes, Callable[[Reader], object]]] = [
        (b"\2\xff\xfe", lambda r: r.string(10)),
        (b"\2", lambda r: r.flag()),
        (b"\0", lambda r: r.end()),
        (b"", lambda r: r.fixed(-1)),
    ]
    for data, read in more:
        with pytest.raises(DecodeError):
            read(Reader(data))


def test_only_canonical_base32_is_decoded() -> None:
    assert unbase32(base32(b"\0\1\2")) == b"\0\1\2" and base32(b"") == ""
    for text in ("aa", "A", "AB", "AAAAAAAA=", "A A", "01"):
        with pytest.raises(DecodeError):
            unbase32(text)
    assert shown_id("id", bytes(32)) == "id_" + "A" * 32 and low53(b"\xff" * 8) == 2**53 - 1


def test_signatures_and_digests_hold_only_under_their_label() -> None:
    key = SigningKey.from_seed(b"s" * 32)
    signature = key.sign(Label.CERTIFICATE, b"body")
    assert verify(key.public, Label.CERTIFICATE, b"body", signature)
    assert not verify(key.public, Label.REVOCATION, b"body", signature)
    assert not verify(key.public, Label.CERTIFICATE, b"body", signature, suite=2)
    assert not verify(key.public, Label.CERTIFICATE, b"body", signature[:63])
    assert digest(Label.CERTIFICATE, b"a", b"b") == digest(Label.CERTIFICATE, b"ab") != digest(Label.DEVICE, b"ab")
    assert derive(b"k" * 32, Label.DEVICE, b"x") != digest(Label.DEVICE, b"x") != derive(b"l" * 32, Label.DEVICE, b"x")
    assert key.seed == b"s" * 32 and key.secret.hex() not in repr(key)


def test_small_order_and_malformed_points_are_refused() -> None:
    small = [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]
    for public in (*small, b"", bytes(31), b"\xff" * 32, b"\2" + bytes(31)):
        for function in (check_point, to_agreement):
            with pytest.raises(DecodeError):
                function(public)
    me = AgreementKey.from_secret(b"d" * 32)
    for public in (bytes(32), b"\1" + bytes(31), bytes(31), b""):
        with pytest.raises(DecodeError):
            agree(me.secret, public)
    signing = SigningKey.from_seed(b"e" * 32)
    assert AgreementKey.from_signing(signing).public == to_agreement(signing.public)


def test_signature_under_a_small_order_key_is_refused() -> None:
    identity_point = b"\1" + bytes(31)
    assert not verify_raw(identity_point, b"anything", identity_point + bytes(32))


def test_altered_sealed_bytes_do_not_open() -> None:
    key, nonce = b"k" * 32, b"n" * 24
    sealed = seal(key, nonce, b"text", b"about")
    assert open_sealed(key, nonce, sealed, b"about") == b"text"
    for args in (
        (b"l" * 32, nonce, sealed, b"about"),
        (key, b"m" * 24, sealed, b"about"),
        (key, nonce, sealed, b""),
        (key, nonce, sealed[:-1], b"about"),
        (key, nonce, b"", b"about"),
        (key, nonce[:-1], sealed, b"about"),
        (key[:-1], nonce, sealed, b"about"),
    ):
        with pytest.raises(DecodeError):
            open_sealed(*args)
