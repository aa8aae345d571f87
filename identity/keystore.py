"""The keystore: the database key, sealed under a passphrase and/or a secret of the OS keyring.

`docs/protocol.md`, "Keystore".  These functions make and read its bytes; `keystore_file.py` puts them on the disk.
A checksum over all of it tells damage from a wrong passphrase, and is checked first: a damaged file never makes us run
Argon2 with somebody's idea of a cost.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from nacl import exceptions, pwhash

from identity.codec import Reader, Writer
from identity.device import read_suite
from identity.digest import derive, digest
from identity.errors import DecodeError, KithkinError
from identity.keys import SUITE, VERSION, Random
from identity.labels import Label
from identity.seal import NONCE, TAG, open_sealed, seal

SALT = 16
CHECKSUM = 16
KEY = 32
MAX_OPS = 20
MAX_MEMORY_KIB = 2 * 1024 * 1024
MIN_MEMORY_KIB = 8
MAX_KEYSTORE = 512
PASSPHRASE, KEYRING = 1, 2


@dataclass(frozen=True, slots=True)
class Cost:
    """Argon2id: `ops` passes over `memory` KiB."""

    ops: int = 3
    memory: int = 64 * 1024


USUAL = Cost()


@dataclass(frozen=True, slots=True)
class PassphraseSlot:
    """The database key sealed under Argon2id of a passphrase."""

    salt: bytes
    cost: Cost
    nonce: bytes
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyringSlot:
    """The database key sealed under a secret of the OS keyring."""

    salt: bytes
    nonce: bytes
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keystore:
    """At least one slot; each seals the same database key."""

    passphrase: PassphraseSlot | None
    keyring: KeyringSlot | None


def create_keystore(
    database_key: bytes,
    *,
    rng: Random,
    passphrase: str | None = None,
    keyring_secret: bytes | None = None,
    cost: Cost = USUAL,
) -> bytes:
    """The file's bytes.  Raises KithkinError `no_passphrase` where neither is given (or the passphrase is empty)."""
    return encode_keystore(
        with_slots(database_key, rng=rng, passphrase=passphrase, keyring_secret=keyring_secret, cost=cost)
    )


def open_keystore(data: bytes, *, passphrase: str | None = None, keyring_secret: bytes | None = None) -> bytes:
    """The 32-byte database key, through the keyring's secret if given, else through the passphrase.

    Raises KithkinError `keystore_corrupt`, `wrong_passphrase`, `no_passphrase`, or `profile_unreadable` where memory
    is too short for Argon2.
    """
    store = load(data)
    if keyring_secret is not None and store.keyring is not None:
        try:
            return open_slot(keyring_key(keyring_secret, store.keyring.salt), store.keyring)
        except DecodeError:
            if passphrase is None:
                raise KithkinError(
                    "wrong_passphrase", "The secret in this system's keyring is not that of this profile."
                ) from None
    if passphrase is None or not passphrase:
        raise KithkinError("no_passphrase", "This profile needs its passphrase.")
    if store.passphrase is None:
        raise KithkinError("no_passphrase", "This profile opens through the system's keyring only.")
    key = passphrase_key(passphrase, store.passphrase.salt, store.passphrase.cost)
    try:
        return open_slot(key, store.passphrase)
    except DecodeError:
        raise KithkinError("wrong_passphrase", "That is not the passphrase of this profile.") from None


def change_keystore(
    data: bytes,
    database_key: bytes,
    *,
    rng: Random,
    passphrase: str | None = None,
    keyring_secret: bytes | None = None,
    drop_keyring: bool = False,
    drop_passphrase: bool = False,
    cost: Cost | None = None,
) -> bytes:
    """New bytes with the slots given made anew, the others kept, `drop_…` left out.

    A new passphrase costs at least what the old one did.  Raises `keystore_corrupt`, and `no_passphrase` where no slot
    would be left.
    """
    old = load(data)
    if cost is None:
        before = old.passphrase.cost if old.passphrase else USUAL
        cost = Cost(max(before.ops, USUAL.ops), max(before.memory, USUAL.memory))
    kept = Keystore(
        None if drop_passphrase or passphrase is not None else old.passphrase,
        None if drop_keyring or keyring_secret is not None else old.keyring,
    )
    return encode_keystore(
        with_slots(database_key, rng=rng, passphrase=passphrase, keyring_secret=keyring_secret, cost=cost, kept=kept)
    )


def with_slots(
    database_key: bytes,
    *,
    rng: Random,
    passphrase: str | None,
    keyring_secret: bytes | None,
    cost: Cost,
    kept: Keystore | None = None,
) -> Keystore:
    """A keystore with the slots given made anew and those of `kept` otherwise.  Raises KithkinError `no_passphrase`."""
    if len(database_key) != KEY:
        raise ValueError("a database key has 32 bytes")
    passphrase_slot, keyring_slot = (kept.passphrase, kept.keyring) if kept else (None, None)
    if passphrase == "":
        raise KithkinError("no_passphrase", "An empty passphrase protects nothing; choose one.")
    if passphrase is not None:
        salt, nonce = rng(SALT), rng(NONCE)
        sealed = seal(passphrase_key(passphrase, salt, cost), nonce, database_key, bytes((PASSPHRASE,)))
        passphrase_slot = PassphraseSlot(salt, cost, nonce, sealed)
    if keyring_secret is not None:
        salt, nonce = rng(SALT), rng(NONCE)
        sealed = seal(keyring_key(keyring_secret, salt), nonce, database_key, bytes((KEYRING,)))
        keyring_slot = KeyringSlot(salt, nonce, sealed)
    if passphrase_slot is None and keyring_slot is None:
        raise KithkinError(
            "no_passphrase", "Without a passphrase or the system's keyring nothing would protect this profile."
        )
    return Keystore(passphrase_slot, keyring_slot)


def open_slot(key: bytes, slot: PassphraseSlot | KeyringSlot) -> bytes:
    """The database key out of one slot.  Raises DecodeError for the wrong key."""
    kind = PASSPHRASE if isinstance(slot, PassphraseSlot) else KEYRING
    return open_sealed(key, slot.nonce, slot.sealed, bytes((kind,)))


def passphrase_key(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    """Argon2id of the NFC form: one text, whichever keyboard composed it."""
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    try:
        return pwhash.argon2id.kdf(KEY, text, salt, opslimit=cost.ops, memlimit=cost.memory * 1024)
    except (exceptions.RuntimeError, MemoryError):
        raise KithkinError(
            "profile_unreadable", f"Checking the passphrase needs {cost.memory // 1024} MiB of free memory."
        ) from None


def keyring_key(secret: bytes, salt: bytes) -> bytes:
    """The keyring holds 32 random bytes, which need no stretching."""
    if len(secret) != KEY:
        raise ValueError("a keyring secret has 32 bytes")
    return derive(secret, Label.KEYSTORE, b"keyring", salt)


def load(data: bytes) -> Keystore:
    """As `decode_keystore`, but raises KithkinError `keystore_corrupt`."""
    try:
        return decode_keystore(data)
    except DecodeError:
        raise KithkinError(
            "keystore_corrupt", "The keystore of this profile is damaged; restore it from a backup or recover."
        ) from None


def encode_keystore(store: Keystore) -> bytes:
    """`version | suite | slots | passphrase slot | keyring slot | checksum`."""
    out = Writer().raw(bytes((VERSION, SUITE)))
    out.uint((PASSPHRASE if store.passphrase else 0) | (KEYRING if store.keyring else 0))
    if store.passphrase:
        slot = store.passphrase
        out.raw(slot.salt).uint(slot.cost.ops).uint(slot.cost.memory).raw(slot.nonce).raw(slot.sealed)
    if store.keyring:
        out.raw(store.keyring.salt).raw(store.keyring.nonce).raw(store.keyring.sealed)
    body = out.finish()
    return body + digest(Label.KEYSTORE, body, size=CHECKSUM)


def decode_keystore(data: bytes) -> Keystore:
    """Raises DecodeError for anything but an undamaged keystore of this version with costs that we would run."""
    if len(data) > MAX_KEYSTORE or len(data) < CHECKSUM:
        raise DecodeError("not a keystore")
    body = data[:-CHECKSUM]
    if digest(Label.KEYSTORE, body, size=CHECKSUM) != data[-CHECKSUM:]:
        raise DecodeError("keystore is damaged")
    reader = Reader(body)
    read_suite(reader)
    slots = reader.uint(PASSPHRASE | KEYRING)
    passphrase = keyring = None
    if slots & PASSPHRASE:
        salt, ops, memory = reader.fixed(SALT), reader.uint(MAX_OPS), reader.uint(MAX_MEMORY_KIB)
        if ops < 1 or memory < MIN_MEMORY_KIB:
            raise DecodeError("that is no cost for Argon2id")
        passphrase = PassphraseSlot(salt, Cost(ops, memory), reader.fixed(NONCE), reader.fixed(KEY + TAG))
    if slots & KEYRING:
        keyring = KeyringSlot(reader.fixed(SALT), reader.fixed(NONCE), reader.fixed(KEY + TAG))
    reader.end()
    if passphrase is None and keyring is None:
        raise DecodeError("a keystore has a slot")
    return Keystore(passphrase, keyring)
