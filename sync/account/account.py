"""Who this profile is: the identity, this device's secrets, and its weekly transport keys.

The root secret is never here: it lives in the phrase alone.  Transport keys are random, not derived, so that a stolen
device key says nothing of where the device once was.  `docs/protocol.md`, "Keys".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from identity.codec import Reader, Writer
from identity.device import DeviceKeys, decode_device_keys, encode_device_keys, new_device, rotate_prekeys, week_of
from identity.kem import Kem
from identity.keys import Random, SigningKey
from identity.phrase import PhraseKeys
from identity.statement import Certificate, root_certificate
from sync.store.port import Batch, Store, Table

TRANSPORTS_KEPT = 10  # eight that peers may still dial, this week's and the next
_ACCOUNT = b"account"
MAX_KEYS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Account:
    """identity: root public key, 32 bytes; transports: (UTC week, Ed25519 pair), ascending, next week's last."""

    identity: bytes
    keys: DeviceKeys
    transports: tuple[tuple[int, SigningKey], ...] = field(repr=False)
    kind: str = "device"
    history: bool = True  # False: linked without history, so nothing from before the admission is asked for

    @property
    def device(self) -> bytes:
        return self.keys.id

    def transport(self, now: float) -> SigningKey:
        """This week's key; the newest that is not ahead of the clock."""
        week = week_of(now)
        due = [key for at, key in self.transports if at <= week]
        return due[-1] if due else self.transports[0][1]

    def next_transport(self, now: float) -> SigningKey:
        week = week_of(now)
        later = [key for at, key in self.transports if at > week]
        return later[0] if later else self.transports[-1][1]


def new_account(
    identity: bytes, kind: str, rng: Random, now: float, keys: DeviceKeys | None = None, *, kem: Kem | None = None
) -> Account:
    """A device of an identity with fresh keys; kind: what people call it (`phone`, `desktop`, `device`)."""
    return rotate(Account(identity, keys or new_device(rng, now, kem), (), kind), rng, now, kem)


def recovered_account(
    phrase: PhraseKeys, kind: str, rng: Random, now: float, kem: Kem | None
) -> tuple[Account, Certificate]:
    """A device made from the words, and its certificate: a new generation of the root key, which keeps no other."""
    account = new_account(phrase.root.public, kind, rng, now, kem=kem)
    signing, agreement = account.keys.signing, account.keys.agreement.public
    return account, root_certificate(phrase.root, signing, agreement, created=int(now), generation=int(now))


def rotate(account: Account, rng: Random, now: float, kem: Kem | None) -> Account:
    """The account with this and next week's transport key and this week's prekey; itself if nothing is due."""
    week = week_of(now)
    have = {at for at, _ in account.transports}
    fresh = [(at, SigningKey.generate(rng)) for at in (week, week + 1) if at not in have]
    transports = tuple(sorted([*account.transports, *fresh], key=lambda entry: entry[0]))[-TRANSPORTS_KEPT:]
    keys = rotate_prekeys(account.keys, rng, now, kem)
    if not fresh and keys is account.keys:
        return account
    return replace(account, transports=transports, keys=keys)


def put_account(batch: Batch, account: Account) -> None:
    """Puts the row that `load_account` reads into a batch."""
    out = Writer().raw(account.identity).string(account.kind).uint(account.history)
    out.buffer(encode_device_keys(account.keys))
    out.array(account.transports, lambda w, entry: w.uint(entry[0]).raw(entry[1].seed))
    batch.put(Table.META, _ACCOUNT, out.finish())


def load_account(store: Store) -> Account | None:
    """None for a profile that was made and not yet given an identity (a `link` that did not finish)."""
    value = store.get(Table.META, _ACCOUNT)
    if value is None:
        return None
    data = Reader(value)
    identity, kind, history = data.fixed(32), data.string(32), bool(data.uint(1))
    keys = decode_device_keys(data.buffer(MAX_KEYS))
    transports = tuple(data.array(lambda r: (r.uint(), SigningKey.from_seed(r.fixed(32))), TRANSPORTS_KEPT))
    return Account(identity, keys, transports, kind, history)
