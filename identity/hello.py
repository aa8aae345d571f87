"""`kithkin/hello/1`: two devices prove themselves to each other, pairwise and deniably (`docs/protocol.md`, "Hello").

The dialler speaks first, in one of two forms: at a transport key it knows from a device record, a tag under the DH with
that device; at one it found by topic, a tag under the space's Z, answered by the listener's device id.

What an unknown dialler gets: one answer of the usual length, random, and then nothing.  Neither that answer nor the
silence depends on whom the listener knows, so it cannot tell a device that does not know it from another device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum, auto

from identity.codec import Reader, Writer
from identity.digest import derive
from identity.errors import DecodeError
from identity.inner import Send
from identity.keys import AgreementKey, Random
from identity.labels import Label
from identity.proof import INITIATOR, PROOF, RESPONDER, device_proof, same
from identity.seal import NONCE, TAG, open_sealed, seal

PROTOCOL = "kithkin/hello/1"
KNOWN, TOPIC, PROVE = 0, 1, 2  # forms of the dialler's messages
ASK, NAME = b"\0", b"\1"
SEALED_ID = 32 + TAG


@dataclass(frozen=True, slots=True)
class ExpectedDevice:
    """A device that may be at the other end: one of mine or of a contact.  `secret` is DH(my D, its D)."""

    device: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proved:
    """The other end is this device.  `z` is the rendezvous secret it was found by, None in the known form."""

    device: bytes
    z: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Stranger:
    """It is none of the devices expected here.  Open no space channel, and let the connection idle out as any other."""


HelloEffect = Send | Proved | Stranger


def expected_devices(
    mine: AgreementKey, devices: Iterable[tuple[bytes, bytes]], cache: MutableMapping[bytes, bytes]
) -> list[ExpectedDevice]:
    """(device id, D) pairs with their shared secrets; myself and keys that agree on nothing are left out.

    `cache` maps D to DH results and belongs to the caller.
    """
    found = []
    for device, agreement in devices:
        if agreement == mine.public:
            continue  # myself, or somebody who certified my D: neither is there to be met
        secret = cache.get(agreement)
        if secret is None:
            try:
                secret = cache[agreement] = mine.agree(agreement)
            except DecodeError:
                continue
        found.append(ExpectedDevice(device, secret))
    return found


class State(Enum):
    """What a side waits for: ANSWER and NAMED are states of the dialler, PROVE one of the listener."""

    START = auto()
    ANSWER = auto()
    NAMED = auto()
    PROVE = auto()
    OVER = auto()


class HelloDialler:
    """The side that opened the connection.  `start`, then `receive`.

    `me` is my device id, `hashed` the 64-byte handshake hash.  Give `to` (known form), or `z` and the `members` of its
    space that may be there (topic form).
    """

    def __init__(
        self,
        me: bytes,
        hashed: bytes,
        *,
        to: ExpectedDevice | None = None,
        z: bytes | None = None,
        members: Iterable[ExpectedDevice] = (),
    ) -> None:
        if (to is None) == (z is None):
            raise ValueError("a dialler knows either the device or the space")
        self._me, self._hash, self._to, self._z = me, hashed, to, z
        self._members = {c.device: c for c in members}
        self._state = State.START

    @property
    def named(self) -> bool:
        """Whether the other end has shown that it knows Z, and said which device it is."""
        return self._state is State.NAMED

    def start(self) -> list[HelloEffect]:
        """The first message, in the form that the arguments of the constructor give."""
        if self._state is not State.START:
            return []
        self._state = State.ANSWER
        if self._z is not None:
            return [Send(encode_topic(topic_tag(self._z, self._hash)))]
        return [Send(encode_known(self._proof()))]

    def receive(self, message: bytes) -> list[HelloEffect]:
        """What the answer leads to: another message, or the verdict.  Never raises."""
        if self._state is State.ANSWER and self._z is not None and self._to is None:
            return self._named(message, self._z)
        if self._state not in (State.ANSWER, State.NAMED) or self._to is None:
            return self._stranger()
        self._state = State.OVER
        expected = device_proof(Label.HELLO, self._to.secret, self._hash, RESPONDER, self._to.device, self._me)
        return [Proved(self._to.device, self._z) if same(message, expected) else Stranger()]

    def _named(self, message: bytes, z: bytes) -> list[HelloEffect]:
        try:
            device = open_name(z, self._hash, message)
        except DecodeError:
            return self._stranger()
        self._to = self._members.get(device)
        if self._to is None:
            return self._stranger()
        self._state = State.NAMED
        return [Send(encode_prove(self._proof()))]

    def _proof(self) -> bytes:
        if self._to is None:
            raise ValueError("nobody to prove it to")
        return device_proof(Label.HELLO, self._to.secret, self._hash, INITIATOR, self._me, self._to.device)

    def _stranger(self) -> list[HelloEffect]:
        if self._state is State.OVER:
            return []
        self._state = State.OVER
        return [Stranger()]


class HelloListener:
    """The side that was dialled.  `spaces` maps each Z that may be dialled by to the members' devices of its space."""

    def __init__(
        self,
        me: bytes,
        hashed: bytes,
        *,
        known: Iterable[ExpectedDevice],
        spaces: Mapping[bytes, Iterable[ExpectedDevice]],
        rng: Random,
    ) -> None:
        self._me, self._hash, self._rng = me, hashed, rng
        self._known = known
        self._spaces = spaces
        self._z: bytes | None = None
        self._late: list[ExpectedDevice] = []
        self._state = State.START

    def admit(self, device: ExpectedDevice) -> None:
        """One more that may be at the other end: it was introduced on this connection."""
        self._late.append(device)

    def receive(self, message: bytes) -> list[HelloEffect]:
        """What a dialler's message leads to: always an answer of the usual length or silence.  Never raises."""
        if self._state is State.OVER:
            return []
        try:
            form, value = decode_hello(message)
        except DecodeError:
            return self._stranger()
        if form == KNOWN and self._state is State.START:
            return self._prove(value, (*self._known, *self._late))
        if form == TOPIC and self._state is State.START:
            return self._name(value)
        if form == PROVE and self._state is State.PROVE and self._z is not None:
            return self._prove(value, (*self._spaces[self._z], *self._late))
        if form == PROVE and self._state is State.PROVE:
            return [Send(self._rng(PROOF)), *self._stranger()]
        return self._stranger()

    def _name(self, tag: bytes) -> list[HelloEffect]:
        self._state = State.PROVE
        for z in self._spaces:
            if same(tag, topic_tag(z, self._hash)):
                self._z = z
                return [Send(seal_name(z, self._hash, self._me))]
        return [Send(self._rng(SEALED_ID))]

    def _prove(self, proof: bytes, among: Iterable[ExpectedDevice]) -> list[HelloEffect]:
        for c in among:
            if same(proof, device_proof(Label.HELLO, c.secret, self._hash, INITIATOR, c.device, self._me)):
                self._state = State.OVER
                answer = device_proof(Label.HELLO, c.secret, self._hash, RESPONDER, self._me, c.device)
                return [Send(answer), Proved(c.device, self._z)]
        return [Send(self._rng(PROOF)), *self._stranger()]

    def _stranger(self) -> list[HelloEffect]:
        self._state = State.OVER
        return [Stranger()]


def topic_tag(z: bytes, hashed: bytes) -> bytes:
    """32 bytes by which the dialler shows that it knows Z."""
    return derive(z, Label.HELLO_TOPIC, ASK, hashed)


def seal_name(z: bytes, hashed: bytes, device: bytes) -> bytes:
    """48 bytes: a device id for those who know Z.  The key is used once, so the nonce is zero."""
    return seal(derive(z, Label.HELLO_TOPIC, NAME, hashed), bytes(NONCE), device)


def open_name(z: bytes, hashed: bytes, sealed: bytes) -> bytes:
    """Raises DecodeError."""
    if len(sealed) != SEALED_ID:
        raise DecodeError("not a sealed device id")
    return open_sealed(derive(z, Label.HELLO_TOPIC, NAME, hashed), bytes(NONCE), sealed)


def encode_known(proof: bytes) -> bytes:
    """The dialler's only message in the known form: its proof (32 bytes)."""
    return Writer().uint(KNOWN).raw(proof).finish()


def encode_topic(tag: bytes) -> bytes:
    """The dialler's first message in the topic form: `topic_tag` (32 bytes)."""
    return Writer().uint(TOPIC).raw(tag).finish()


def encode_prove(proof: bytes) -> bytes:
    """The dialler's second message in the topic form: its proof (32 bytes) to the device that answered."""
    return Writer().uint(PROVE).raw(proof).finish()


def decode_hello(message: bytes) -> tuple[int, bytes]:
    """(form, 32 bytes) of a dialler's message.  The listener's have no form: they are to look random.

    Raises DecodeError.
    """
    reader = Reader(message)
    form, value = reader.uint(PROVE), reader.fixed(PROOF)
    reader.end()
    return form, value
