"""The Noise part of connecting: message 1 from whoever dials, message 2 from whoever listens, what both agree on.

`docs/protocol.md`, "Handshake".  IK: the dialler knows the listener's key, message 1 carries its own, encrypted.  Both
messages carry a `NoisePayload`.  Message 1 can be replayed by whoever saw it; what proves that a dialler lives is its
first frame of the secret stream, so nothing is told to the application before that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from identity.errors import DecodeError
from identity.keys import Random, SigningKey
from identity.noise import IK, NoiseSession
from netstack.dht.messages import VERSION, NoisePayload, Refusal, decode_payload, encode_payload
from netstack.wire.namespaces import PEER_HANDSHAKE


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a finished handshake leaves.  `keys` are (to send under, to receive under)."""

    initiator: bool
    local_key: bytes
    remote_key: bytes
    hash: bytes
    keys: tuple[bytes, bytes] = field(repr=False)
    payload: NoisePayload  # the peer's


def target_of(public: bytes) -> bytes:
    """What names a listener in the datagram around Noise: the hash of its key."""
    return blake2b(public, digest_size=32).digest()


class Initiator:
    """The dialling side.  `message` is the same however often and to whatever addresses it is sent.

    Raises DecodeError where `remote` is no Ed25519 key.
    """

    __slots__ = ("_ephemeral", "_key", "_payload", "message", "remote")

    def __init__(self, key: SigningKey, remote: bytes, payload: NoisePayload, rng: Random) -> None:
        self._key = key
        self._payload = encode_payload(payload)
        self._ephemeral = rng(32)
        self.remote = remote
        self.message = self._start()[1]

    def accept(self, message: bytes) -> Agreement:
        """What message 2 settles.  Raises DecodeError for a message that the listener did not write; another may
        be tried then, so that one forged answer does not end an attempt."""
        session, _ = self._start()
        payload = decode_payload(session.read(message))
        return agreement(session, self._key, payload)

    def _start(self) -> tuple[NoiseSession, bytes]:
        # a failed read spoils a session: each answer gets a fresh one, which is the same up to here
        session = NoiseSession.initiate(
            IK, PEER_HANDSHAKE, self._key, lambda size: self._ephemeral, remote_static=self.remote
        )
        return session, session.write(self._payload)


def answer(
    key: SigningKey, message: bytes, rng: Random, reply: Callable[[bytes, NoisePayload], NoisePayload | None]
) -> tuple[bytes, Agreement | None] | None:
    """The listening side: message 2, and what was agreed on unless the reply is an error.

    `reply(remote key, its payload)` gives ours, or None to stay silent.  Raises DecodeError for a message 1 that was
    not written to `key`.
    """
    session = NoiseSession.respond(IK, PEER_HANDSHAKE, key, rng)
    payload = decode_payload(session.read(message))
    ours = reply(session.remote_static, payload)
    if ours is None:
        return None
    written = session.write(encode_payload(ours))
    return written, agreement(session, key, payload) if ours.error == Refusal.NONE else None


def refusal_for(payload: NoisePayload) -> Refusal:
    """What is wrong with a peer's payload, if anything: both sides must speak our UDX and secret stream."""
    if payload.version != VERSION:
        return Refusal.VERSION_MISMATCH
    if payload.udx is None:
        return Refusal.ABORTED
    return Refusal.NONE


def agreement(session: NoiseSession, key: SigningKey, payload: NoisePayload) -> Agreement:
    if not session.done:
        raise DecodeError("the handshake is not done")
    return Agreement(session.initiator, key.public, session.remote_static, session.hash, session.keys(), payload)
