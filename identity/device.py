"""A device: its two certified keys, its id, and its weekly prekeys (`docs/protocol.md`, "Keys").

S (Ed25519) signs device statements and nothing else.  D (X25519) proves the device pairwise and deniably.  Prekeys P
(X25519) are never signed; they give key delivery its forward secrecy, so an old one is forgotten after nine weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from identity.codec import Reader, Writer
from identity.digest import digest
from identity.errors import DecodeError
from identity.keys import SUITE, VERSION, AgreementKey, Random, SigningKey
from identity.labels import Label

WEEK = 7 * 86_400
PREKEYS_KEPT = 9
MAX_WEEK = 2**32


@dataclass(frozen=True, slots=True)
class Prekey:
    """One X25519 prekey and the UTC week (counted from the epoch, Monday first) that it was made in."""

    week: int
    key: AgreementKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The secrets of this device, `prekeys` newest last.  They never leave the device."""

    signing: SigningKey
    agreement: AgreementKey
    prekeys: tuple[Prekey, ...]

    @property
    def id(self) -> bytes:
        """The device id, 32 bytes."""
        return device_id(self.signing.public, self.agreement.public)

    @property
    def prekey(self) -> AgreementKey:
        """The newest prekey: the one that is told to others."""
        return self.prekeys[-1].key


def device_id(signing: bytes, agreement: bytes) -> bytes:
    """32 bytes that commit to both keys, so that neither can be exchanged under a known id."""
    return digest(Label.DEVICE, signing, agreement)


def week_of(now: float) -> int:
    """The UTC week of a Unix time in seconds; weeks start on Monday (1970-01-01 was a Thursday)."""
    return int(now // 86_400 + 3) // 7


def week_start(week: int) -> float:
    """The Unix time in seconds at which a UTC week begins."""
    return (week * 7 - 3) * 86_400.0


def new_device(rng: Random, now: float) -> DeviceKeys:
    """Fresh keys of a device with one prekey; `now` is in Unix seconds."""
    return DeviceKeys(SigningKey.generate(rng), AgreementKey.generate(rng), (new_prekey(rng, now),))


def new_prekey(rng: Random, now: float) -> Prekey:
    """A fresh prekey of the UTC week of `now` (Unix seconds)."""
    return Prekey(week_of(now), AgreementKey.generate(rng))


def rotate_prekeys(keys: DeviceKeys, rng: Random, now: float) -> DeviceKeys:
    """The same keys in the same week; in a later one a fresh prekey, and those nine weeks old forgotten.

    A clock set back makes no new prekey: the newest stays the newest.  One that jumped ahead and came back costs no
    key either, because age is measured from the newest prekey and at most one is made a call.
    """
    if keys.prekeys and week_of(now) <= keys.prekeys[-1].week:
        return keys
    kept = (*keys.prekeys, new_prekey(rng, now))
    return replace(keys, prekeys=kept[-PREKEYS_KEPT:])


def encode_device_keys(keys: DeviceKeys) -> bytes:
    """For the encrypted database only: `version | suite | S seed | D secret | count | (week | P secret)…`."""
    out = Writer().raw(bytes((VERSION, SUITE))).raw(keys.signing.seed).raw(keys.agreement.secret)
    out.array(keys.prekeys, lambda w, p: w.uint(p.week).raw(p.key.secret))
    return out.finish()


def decode_device_keys(data: bytes) -> DeviceKeys:
    """Raises DecodeError."""
    reader = Reader(data)
    read_suite(reader)
    signing = SigningKey.from_seed(reader.fixed(32))
    agreement = AgreementKey.from_secret(reader.fixed(32))
    prekeys = reader.array(lambda r: Prekey(r.uint(MAX_WEEK), AgreementKey.from_secret(r.fixed(32))), PREKEYS_KEPT)
    reader.end()
    if not prekeys:
        raise DecodeError("a device has a prekey")
    return DeviceKeys(signing, agreement, tuple(prekeys))


def read_suite(reader: Reader) -> None:
    """The two bytes that every format starts with.  Raises DecodeError for a version or suite from the future."""
    if reader.fixed(2) != bytes((VERSION, SUITE)):
        raise DecodeError("made by a newer version of Kithkin")
