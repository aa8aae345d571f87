"""What all spaces of one profile share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from crdt.docs.personal import Veil
from identity.kem import Kem
from identity.keys import Random, SigningKey
from sync.account.account import Account
from sync.account.directory import Directory
from sync.store.port import Batch, Store


def _nothing_hidden(space: bytes) -> Veil | None:
    return None


@dataclass(slots=True)
class Context:
    """`batch` is the open batch, replaced at every commit; `changed` names the spaces that have a part in it, in the
    order of their first change; kem: ML-KEM-768, where the platform has it; veil: what of a space I deleted for me
    alone, by the personal space as it is now."""

    store: Store
    rng: Random
    account: Account
    directory: Directory
    kem: Kem | None
    batch: Batch = field(default_factory=Batch)
    changed: dict[bytes, None] = field(default_factory=dict)
    last_number: int = 0
    veil: Callable[[bytes], Veil | None] = _nothing_hidden

    def mark(self, space: bytes) -> None:
        """A space has changes that the next commit takes."""
        self.changed[space] = None

    def number(self) -> int:
        """The next local number of a feed.  Numbers of feeds that were loaded are passed over."""
        self.last_number += 1
        return self.last_number


def new_writer(rng: Random) -> SigningKey:
    """A feed's key: new in every space, on every device and after every restore."""
    return SigningKey.generate(rng)
