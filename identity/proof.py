"""The proof of a device: a MAC under the DH of two D keys, which either of the two could have made.

It covers the hash of the connection that it is given on, the prover's role, and **both device ids**, prover first.  The
ids matter: a certificate does not prove that its device holds D, so somebody may certify a device of his own with
another's D, and without the ids a proof of the one would pass as a proof of the other.
"""

from __future__ import annotations

from hmac import compare_digest

from identity.digest import derive
from identity.labels import Label

INITIATOR, RESPONDER = 0, 1  # roles: who opened the connection (or the inner session), and who answered
PROOF = 32


def device_proof(label: Label, secret: bytes, hashed: bytes, role: int, prover: bytes, verifier: bytes) -> bytes:
    """32 bytes.  `secret` is the DH of both D, `hashed` the 64-byte handshake hash, `role` the prover's."""
    return derive(secret, label, hashed, bytes((role,)), prover, verifier, size=PROOF)


def same(one: bytes, other: bytes) -> bool:
    """Equality in constant time."""
    return compare_digest(one, other)
