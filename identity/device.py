"""A device: its two certified keys, its id, and its weekly prekeys (`docs/protocol.md`, "Keys").

S (Ed25519) signs device statements and nothing else.  D (X25519) proves the device pairwise and deniably.  Prekeys P
(X25519), each with a K (ML-KEM-768) where the platform has it, are never signed; they give key delivery its forward
secrecy, so an old pair is forgotten after nine weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from identity.codec import Reader, Writer
from identity.digest import digest
from identity.errors import DecodeError
from identity.kem import PUBLIC, SEED, HybridKey, Kem, KemKey
from identity.keys import SUITE, VERSION, AgreementKey, Random, SigningKey
from identity.labels import Label

WEEK = 7 * 86_400
PREKEYS_KEPT = 9
MAX_WEEK = 2**32


@dataclass(frozen=True, slots=True)
class Prekey:
    """P and perhaps K, and the UTC week (counted from the epoch, Monday first) that they were made in."""

    week: int
    key: HybridKey = field(repr=False)


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
    def prekey(self) -> HybridKey:
        """The newest prekey: its `public`, P and perhaps K, is what is told to others."""
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


def new_device(rng: Random, now: float, kem: Kem | None = None) -> DeviceKeys:
    """Fresh keys of a device with one prekey, with K if a `kem` is given; `now` is in Unix seconds."""
    return DeviceKeys(SigningKey.generate(rng), AgreementKey.generate(rng), (new_prekey(rng, now, kem),))


def new_prekey(rng: Random, now: float, kem: Kem | None = None) -> Prekey:
    """A fresh prekey of the UTC week of `now` (Unix seconds)."""
    return Prekey(week_of(now), HybridKey.generate(kem, rng))


def rotate_prekeys(keys: DeviceKeys, rng: Random, now: float, kem: Kem | None = None) -> DeviceKeys:
    """The same keys in the same week; in a later one a fresh prekey, and those nine weeks old forgotten.

    The newest has a K exactly where there is a `kem`: a profile that moves to a platform without one stops telling a K
    that it could not use, and one that comes to have it need not wait for Monday.

    A clock set back makes no new prekey: the newest stays the newest.  One that jumped ahead and came back costs no
    key either, because age is measured from the newest prekey and at most one is made a call.
    """
    if keys.prekeys and week_of(now) <= keys.prekeys[-1].week:
        newest = keys.prekeys[-1]
        if (newest.key.kem is None) == (kem is None):
            return keys
        pair = HybridKey(newest.key.agreement, KemKey.generate(kem, rng) if kem is not None else None)
        return replace(keys, prekeys=(*keys.prekeys[:-1], replace(newest, key=pair)))
    kept = (*keys.prekeys, new_prekey(rng, now, kem))
    return replace(keys, prekeys=kept[-PREKEYS_KEPT:])


def encode_device_keys(keys: DeviceKeys) -> bytes:
    """For the encrypted database only: `version | suite | S seed | D secret | count | (week | P secret | K)…`.

    K is a flag and, if it is 1, seed (64) and public key (1,184): kept, so that reading needs no ML-KEM.
    """
    out = Writer().raw(bytes((VERSION, SUITE))).raw(keys.signing.seed).raw(keys.agreement.secret)
    return out.array(keys.prekeys, _write_prekey).finish()


def decode_device_keys(data: bytes) -> DeviceKeys:
    """Raises DecodeError."""
    reader = Reader(data)
    read_suite(reader)
    signing = SigningKey.from_seed(reader.fixed(32))
    agreement = AgreementKey.from_secret(reader.fixed(32))
    prekeys = reader.array(_read_prekey, PREKEYS_KEPT)
    reader.end()
    if not prekeys:
        raise DecodeError("a device has a prekey")
    return DeviceKeys(signing, agreement, tuple(prekeys))


def _write_prekey(out: Writer, prekey: Prekey) -> None:
    out.uint(prekey.week).raw(prekey.key.agreement.secret).fixed_uint(prekey.key.kem is not None, 1)
    if prekey.key.kem is not None:
        out.raw(prekey.key.kem.seed).raw(prekey.key.kem.public)


def _read_prekey(reader: Reader) -> Prekey:
    week, agreement = reader.uint(MAX_WEEK), AgreementKey.from_secret(reader.fixed(32))
    kem = KemKey(seed=reader.fixed(SEED), public=reader.fixed(PUBLIC)) if reader.flag() else None
    return Prekey(week, HybridKey(agreement, kem))


def read_suite(reader: Reader) -> None:
    """The two bytes that every format starts with.  Raises DecodeError for a version or suite from the future."""
    if reader.fixed(2) != bytes((VERSION, SUITE)):
        raise DecodeError("made by a newer version of Kithkin")
