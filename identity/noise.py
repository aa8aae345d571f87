"""Noise handshakes: the one wrapper around `noiseprotocol`, for connections, pairing and invites.

It adds what that library leaves out: Ed25519 as a Diffie-Hellman group (HyperDHT's IK), ephemerals from an injected
random source, a length check before anything is decrypted, one error type, and results that outlive the handshake.

Patterns in use, each with empty-string associated data in transport messages:

    IK      a HyperDHT connection; static keys are Ed25519 and also sign announcements
    XKPSK0  pairing: the scanner (initiator) knows the displayer's key and its secret
    IKPSK1  invites.  psk1, not psk2: with psk2 a wrong secret passes message 1
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha512
from typing import Any

from nacl import bindings
from noise.backends.default.backend import DefaultNoiseBackend
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseProtocolNameError

from identity.errors import DecodeError
from identity.keys import AgreementKey, Random, SigningKey, check_point

IK = "Noise_IK_Ed25519_ChaChaPoly_BLAKE2b"
XKPSK0 = "Noise_XKpsk0_25519_ChaChaPoly_BLAKE2b"
IKPSK1 = "Noise_IKpsk1_25519_ChaChaPoly_BLAKE2b"
MAX_MESSAGE = 65_535  # bytes of one handshake or transport message, tag included
TAG = 16
PSK = 32


class NoiseSession:
    """One side of one handshake, then of the encrypted messages that follow.

    `static` is a SigningKey where the pattern's group is Ed25519, an AgreementKey where it is 25519 (raw secret bytes
    for any other group).  `psk` is 32 bytes for each psk modifier of the pattern, joined.  `rng` is asked once, for
    the ephemeral secret.  Constructors raise DecodeError for a `remote_static` that is no key of the group, and
    ValueError for what only a programmer can get wrong.  A session whose `read` has failed stays failed.
    """

    __slots__ = ("_connection", "_failed", "_handshake", "initiator", "pattern")

    def __init__(
        self,
        pattern: str,
        *,
        initiator: bool,
        prologue: bytes,
        static: AgreementKey | SigningKey | bytes | None,
        rng: Random,
        remote_static: bytes | None = None,
        psk: bytes = b"",
    ) -> None:
        self.pattern = pattern
        self.initiator = initiator
        self._failed = False
        # noiseprotocol has no types: `Any` stays inside this file
        try:
            connection: Any = NoiseConnection.from_name(pattern.encode("ascii"), backend=BACKEND)
        except (NoiseProtocolNameError, NotImplementedError, ValueError, LookupError) as error:
            raise ValueError(f"no such Noise pattern: {pattern}") from error
        protocol = connection.noise_protocol
        protocol.dh_fn = Seeded(protocol.dh_fn, rng)
        wanted = protocol.pattern.psk_count
        if len(psk) != PSK * wanted:
            raise ValueError(f"{pattern} takes {wanted} secrets of {PSK} bytes")
        if wanted:
            connection.set_psks(psks=[psk[at : at + PSK] for at in range(0, len(psk), PSK)])
        connection.set_prologue(prologue)
        if static is not None:
            connection.set_keypair_from_private_bytes(Keypair.STATIC, secret_of(static))
        if remote_static is not None:
            try:
                connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote_static)
            except Exception:
                raise DecodeError("not a public key of this Noise pattern") from None
        if initiator:
            connection.set_as_initiator()
        else:
            connection.set_as_responder()
        try:
            connection.start_handshake()
        except Exception as error:
            raise ValueError(f"{pattern}: {error}") from error
        self._connection = connection
        # the library drops its handshake state when done, and with it the remote static key
        self._handshake: Any = protocol.handshake_state

    @classmethod
    def initiate(
        cls,
        pattern: str,
        prologue: bytes,
        static: AgreementKey | SigningKey | bytes | None,
        rng: Random,
        *,
        remote_static: bytes | None = None,
        psk: bytes = b"",
    ) -> NoiseSession:
        """The side that writes first.  IK and XK need `remote_static`."""
        return cls(
            pattern, initiator=True, prologue=prologue, static=static, rng=rng, remote_static=remote_static, psk=psk
        )

    @classmethod
    def respond(
        cls,
        pattern: str,
        prologue: bytes,
        static: AgreementKey | SigningKey | bytes | None,
        rng: Random,
        *,
        remote_static: bytes | None = None,
        psk: bytes = b"",
    ) -> NoiseSession:
        """The side that reads first."""
        return cls(
            pattern, initiator=False, prologue=prologue, static=static, rng=rng, remote_static=remote_static, psk=psk
        )

    def write(self, payload: bytes = b"") -> bytes:
        """Our next handshake message.  ValueError out of turn, or above 65,535 bytes; DecodeError where the peer's
        keys give no shared secret."""
        if self._failed or self.done or not self._ours():
            raise ValueError("it is not our turn to write a handshake message")
        if len(payload) > MAX_MESSAGE:
            raise ValueError("handshake payload is too long")
        try:
            message = bytes(self._connection.write_message(bytes(payload)))
        except Exception:  # the library raises five unrelated kinds; none may travel
            self._failed = True
            raise DecodeError("the peer's key gives no shared secret") from None
        if len(message) > MAX_MESSAGE:
            self._failed = True
            raise ValueError("handshake payload is too long")
        return message

    def read(self, message: bytes | bytearray | memoryview) -> bytes:
        """The payload of the peer's next handshake message.  DecodeError for anything else, out of turn too."""
        if len(message) > MAX_MESSAGE:
            self._failed = True
            raise DecodeError("handshake message is longer than 65,535 bytes")
        if self._failed or self.done or self._ours():
            raise DecodeError("handshake message out of turn")
        try:
            return bytes(self._connection.read_message(bytes(message)))
        except Exception:  # as in `write`
            self._failed = True
            raise DecodeError("handshake message does not open") from None

    @property
    def done(self) -> bool:
        """Whether the last handshake message was written or read."""
        return bool(self._connection.handshake_finished)

    @property
    def hash(self) -> bytes:
        """The handshake hash (64 bytes with BLAKE2b), the same on both sides and unique to this handshake."""
        if not self.done:
            raise ValueError("the handshake is not done")
        return bytes(self._connection.get_handshake_hash())

    @property
    def remote_static(self) -> bytes:
        """The peer's static public key, known from the start or from the message that carries it."""
        remote = getattr(self._handshake.rs, "public_bytes", None)
        if remote is None:
            raise ValueError("the peer's static key is not known yet")
        return bytes(remote)

    def keys(self) -> tuple[bytes, bytes]:
        """(what we send under, what we receive under), 32 bytes each; b"" for the missing one of a one-way pattern."""
        if not self.done:
            raise ValueError("the handshake is not done")
        protocol = self._connection.noise_protocol
        send, receive = protocol.cipher_state_encrypt, protocol.cipher_state_decrypt
        return (bytes(send.k) if send else b"", bytes(receive.k) if receive else b"")

    def encrypt(self, plaintext: bytes) -> bytes:
        """A transport message of at most 65,535 bytes, to be read in order.  ValueError for a longer one."""
        if len(plaintext) > MAX_MESSAGE - TAG:
            raise ValueError("transport message is too long")
        return bytes(self._connection.encrypt(bytes(plaintext)))

    def decrypt(self, message: bytes | bytearray | memoryview) -> bytes:
        """The plaintext of the peer's next transport message.  DecodeError for anything else, an early one too."""
        if len(message) > MAX_MESSAGE:
            raise DecodeError("transport message is longer than 65,535 bytes")
        try:
            return bytes(self._connection.decrypt(bytes(message)))
        except Exception:  # as in `write`
            raise DecodeError("transport message does not open") from None

    def _ours(self) -> bool:
        handshake = self._handshake
        written = len(self._connection.noise_protocol.pattern.tokens) - len(handshake.message_patterns)
        return (written % 2 == 0) == self.initiator


class KeyPairEd25519:
    """A key pair of the group that noise-curve-ed uses; the shape that `noiseprotocol` expects of one."""

    def __init__(self, private: bytes | None, public: bytes) -> None:
        self.private = private
        self.public = self.public_bytes = public

    @classmethod
    def from_private_bytes(cls, seed: bytes) -> KeyPairEd25519:
        """From an Ed25519 seed.  The scalar is RFC 8032's, clamped once here because the product is not."""
        scalar = bytearray(sha512(seed).digest()[:32])
        scalar[0] &= 248
        scalar[31] = (scalar[31] & 127) | 64
        return cls(bytes(scalar), SigningKey.from_seed(seed).public)

    @classmethod
    def from_public_bytes(cls, public: bytes) -> KeyPairEd25519:
        """A public key alone.  Raises DecodeError for what is no point of the group."""
        return cls(None, check_point(public))


class DiffieHellmanEd25519:
    """DH over Edwards points: the compressed product, without a second clamping."""

    klass = KeyPairEd25519
    dhlen = 32

    def dh(self, private: bytes, public: bytes) -> bytes:
        """32 bytes; the library calls it."""
        return bindings.crypto_scalarmult_ed25519_noclamp(private, public)


class Seeded:
    """A DH function of the library with its ephemerals drawn from our random source."""

    def __init__(self, function: Any, rng: Random) -> None:
        self.klass = function.klass
        self.dhlen: int = function.dhlen
        self.dh: Callable[[Any, Any], bytes] = function.dh
        self._rng = rng

    def generate_keypair(self) -> Any:
        """An ephemeral key pair out of the injected random source."""
        return self.klass.from_private_bytes(self._rng(self.dhlen))


def secret_of(static: AgreementKey | SigningKey | bytes) -> bytes:
    """The raw secret of a static key, in the form that the library takes."""
    if isinstance(static, SigningKey):
        return static.seed
    if isinstance(static, AgreementKey):
        return static.secret
    return static


class Backend(DefaultNoiseBackend):  # type: ignore[misc]
    """The library's own primitives and our one group."""

    def __init__(self) -> None:
        super().__init__()
        self.diffie_hellmans["Ed25519"] = DiffieHellmanEd25519
        self.keypairs["Ed25519"] = KeyPairEd25519


BACKEND = Backend()
