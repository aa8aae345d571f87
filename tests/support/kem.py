"""A stand-in for ML-KEM-768 in simulations: the library draws its own randomness, and one seed must be one run.

Its secrets rest on X25519; sizes, and what is refused, are those of ML-KEM-768.  What the real one does is tested in
`tests/unit/test_identity_kem.py` and by every process that the tests start.
"""

from __future__ import annotations

from hashlib import blake2b

from identity.errors import DecodeError
from identity.kem import CIPHERTEXT, PUBLIC, Kem
from identity.keys import AgreementKey, Random


class SimulatedKem:
    """See `identity.kem.Kem`."""

    def public(self, seed: bytes) -> bytes:
        return bytes(PUBLIC - 32) + AgreementKey.from_secret(seed[:32]).public

    def encapsulate(self, public: bytes, rng: Random) -> tuple[bytes, bytes]:
        if len(public) != PUBLIC or any(public[:-32]):
            raise DecodeError("not a simulated public key")
        once = AgreementKey.generate(rng)
        return _mixed(once.agree(public[-32:]), once.public), once.public + bytes(CIPHERTEXT - 32)

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        if len(ciphertext) != CIPHERTEXT:
            raise DecodeError("not a simulated ciphertext")
        return _mixed(AgreementKey.from_secret(seed[:32]).agree(ciphertext[:32]), ciphertext)


def _mixed(shared: bytes, ciphertext: bytes) -> bytes:
    return blake2b(shared + ciphertext[:32], digest_size=32, person=b"simulated kem").digest()


SIMULATED: Kem = SimulatedKem()
