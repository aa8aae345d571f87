"""Public keys that no honest device has: of low order, the identity, beside the prime-order group, and no points.

`Mixed` is a key of somebody who knows its secret and has added a point of order eight: signatures under it are good for
libsodium's verifier (some of them), so only a check of the key itself keeps it out.
"""

from __future__ import annotations

from hashlib import sha512

from nacl import bindings

L = 2**252 + 27742317777372353535851937790883648493
IDENTITY = b"\1" + bytes(31)
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
ED25519 = {
    "the identity": IDENTITY,
    "the identity, not canonical": b"\1" + bytes(30) + b"\x80",
    "order 2": b"\xec" + b"\xff" * 30 + b"\x7f",
    "order 4": bytes(32),
    "order 4, the other": bytes(31) + b"\x80",
    "order 8": ORDER_8,
    "y = p + 1": b"\xee" + b"\xff" * 30 + b"\x7f",
    "no point": b"\2" + bytes(31),
    "all ones": b"\xff" * 32,
}
X25519 = {  # https://cr.yp.to/ecdh.html, and their forms beyond p
    "0": bytes(32),
    "1": IDENTITY,
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "order 8, the other": bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    "p - 1": b"\xec" + b"\xff" * 30 + b"\x7f",
    "p": b"\xed" + b"\xff" * 30 + b"\x7f",
    "p + 1": b"\xee" + b"\xff" * 30 + b"\x7f",
}


class Mixed:
    """A secret scalar, and its public point plus one of order eight."""

    def __init__(self, seed: bytes) -> None:
        self._secret = int.from_bytes(sha512(seed).digest(), "little") % L
        self.public = bindings.crypto_core_ed25519_add(_base(self._secret), ORDER_8)

    def sign(self, message: bytes) -> bytes:
        """A signature that libsodium takes: drawn again until the point of order eight falls out."""
        for draw in range(1, 1000):
            once = _base(draw)
            told = int.from_bytes(sha512(once + self.public + message).digest(), "little") % L
            if told % 8 == 0:
                return once + ((draw + told * self._secret) % L).to_bytes(32, "little")
        raise AssertionError("a thousand draws and none fits")


def no_secret(message: bytes) -> bytes:
    """The signature under the identity that needs no secret, whatever the message is."""
    return IDENTITY + bytes(32)


def _base(scalar: int) -> bytes:
    return bindings.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))
