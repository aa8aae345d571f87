"""The device that this one took the place of, after a restore or in a copied folder.

Of its keys only D is kept: with it this device proves to others that it was that device, until they know it as itself.
Its S is gone: it has signed the certificate of this device and its own revocation, and nothing else is to be signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from identity.codec import Reader, Writer
from identity.hello import ExpectedDevice, expected_devices
from identity.keys import AgreementKey
from sync.store.port import Batch, Store, Table

_FORMER = b"former"
KEPT_MS = 60 * 86_400_000  # as long as others may not have met this device: then they count as dormant


@dataclass(slots=True)
class Former:
    """device: its id; agreement: its D; since: Unix ms when this device took its place."""

    device: bytes
    agreement: AgreementKey = field(repr=False)
    since: int
    _shared: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def expected(self, devices: Iterable[tuple[bytes, bytes]]) -> list[ExpectedDevice]:
        """(device id, D) pairs with what the former device shares with each, for the device handshake."""
        return expected_devices(self.agreement, devices, self._shared)


def put_former(batch: Batch, former: Former) -> None:
    """Puts the row that `load_former` reads into a batch."""
    row = Writer().raw(former.device).raw(former.agreement.secret).fixed_uint(former.since, 8)
    batch.put(Table.META, _FORMER, row.finish())


def load_former(store: Store) -> Former | None:
    """None where this device took nobody's place, or did so long ago."""
    value = store.get(Table.META, _FORMER)
    if value is None:
        return None
    data = Reader(value)
    former = Former(data.fixed(32), AgreementKey.from_secret(data.fixed(32)), data.fixed_uint(8))
    data.end()
    return former


def forget_former(batch: Batch) -> None:
    """Its D goes with the commit."""
    batch.delete(Table.META, _FORMER)
