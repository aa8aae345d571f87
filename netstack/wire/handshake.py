"""The Noise IK handshake of a connection: message 1 of the initiator, message 2 of the responder, the agreement.

`docs/protocol.md`, "Handshake".  IK: the initiator knows the responder's key, message 1 carries its own, encrypted.
Both messages carry a `NoisePayload`.  Message 1 can be replayed by anyone who saw it: only the first frame of the
secret stream proves that the initiator is live, so that the application hears nothing before that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from identity.errors import DecodeError
from identity.keys import Random, SigningKey
from identity.noise import IK, NoiseSession
from netstack.namespaces import PEER_HANDSHAKE
from netstack.wire.messages import VERSION, NoisePayload, Refusal, decode_payload, encode_payload


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of a finished handshake.  `keys` are (to send under, to receive under), 32 bytes each."""

    initiator: bool
    local_key: bytes
    remote_key: bytes
    hash: bytes
    keys: tuple[bytes, bytes] = field(repr=False)
    payload: NoisePayload  # the peer's


def target_of(public: bytes) -> bytes:
    """The name of a responder in the datagram around Noise: the BLAKE2b-256 hash of its public key."""
    return blake2b(public, digest_size=32).digest()


class Initiator:
    """The dialling side of one handshake with the public key `remote`.

    `message` is message 1: the same bytes for every repetition and every address.  Raises DecodeError where `remote`
    is no Ed25519 key.
    """

    __slots__ = ("_ephemeral", "_key", "_payload", "message", "remote")

    def __init__(self, key: SigningKey, remote: bytes, payload: NoisePayload, rng: Random) -> None:
        self._key = key
        self._payload = encode_payload(payload)
        self._ephemeral = rng(32)
        self.remote = remote
        self.message = self._start()[1]

    def accept(self, message: bytes) -> Agreement:
        """The agreement that message 2 completes.  Raises DecodeError for a message that the responder did not write;
        another may be tried then, so that one forged answer does not end an attempt."""
        session, _ = self._start()
        payload = decode_payload(session.read(message))
        return agreement(session, self._key, payload)

    def _start(self) -> tuple[NoiseSession, bytes]:
        # a failed read spoils a session: each answer gets a new one, which is the same up to here
        session = NoiseSession.initiate(
            IK, PEER_HANDSHAKE, self._key, lambda size: self._ephemeral, remote_static=self.remote
        )
        return session, session.write(self._payload)


def answer(
    key: SigningKey, message: bytes, rng: Random, reply: Callable[[bytes, NoisePayload], NoisePayload | None]
) -> tuple[bytes, Agreement | None] | None:
    """The listening side: returns message 2 and the agreement, which is None where our payload is an error.

    `reply(remote key, its payload)` returns our payload, or None to send no answer; the result is None then.  Raises
    DecodeError for a message 1 that was not written to `key`.
    """
    session = NoiseSession.respond(IK, PEER_HANDSHAKE, key, rng)
    payload = decode_payload(session.read(message))
    ours = reply(session.remote_static, payload)
    if ours is None:
        return None
    written = session.write(encode_payload(ours))
    return written, agreement(session, key, payload) if ours.error == Refusal.NONE else None


def refusal_for(payload: NoisePayload) -> Refusal:
    """Why a peer's payload cannot be accepted, NONE if it can: version and UDX have to match ours."""
    if payload.version != VERSION:
        return Refusal.VERSION_MISMATCH
    if payload.udx is None:
        return Refusal.ABORTED
    return Refusal.NONE


def agreement(session: NoiseSession, key: SigningKey, payload: NoisePayload) -> Agreement:
    """The agreement of a finished session.  Raises DecodeError if it is not finished."""
    if not session.done:
        raise DecodeError("the handshake is not done")
    return Agreement(session.initiator, key.public, session.remote_static, session.hash, session.keys(), payload)
