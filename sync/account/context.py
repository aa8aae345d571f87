"""What all spaces of one profile share."""

from __future__ import annotations

from dataclasses import dataclass, field

from identity.keys import Random, SigningKey
from sync.account.account import Account
from sync.account.directory import Directory
from sync.store.port import Batch, Store


@dataclass(slots=True)
class Context:
    """`batch` is replaced at every commit."""

    store: Store
    rng: Random
    account: Account
    directory: Directory
    batch: Batch = field(default_factory=Batch)
    last_number: int = 0

    def number(self) -> int:
        """The next local number of a feed.  Numbers of feeds that were loaded are passed over."""
        self.last_number += 1
        return self.last_number


def new_writer(rng: Random) -> SigningKey:
    """A feed's key: new in every space, on every device and after every restore."""
    return SigningKey.generate(rng)
