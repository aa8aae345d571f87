"""All nodes of a network by id: the nearest to a target, and those that belong into the buckets of a node."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from netstack.dht.contact import ID_BITS, Contact, shared_prefix
from netstack.dht.table import K


class Census:
    def __init__(self, contacts: Iterable[Contact]) -> None:
        self._sorted = sorted(contacts, key=lambda contact: contact.number)
        self._numbers = [contact.number for contact in self._sorted]

    def __len__(self) -> int:
        return len(self._sorted)

    def bucket(self, own: int, at: int) -> range:
        """Where those stand that share exactly `at` leading bits with `own`."""
        rest = ID_BITS - 1 - at
        prefix = own >> rest ^ 1
        return range(bisect_left(self._numbers, prefix << rest), bisect_left(self._numbers, (prefix + 1) << rest))

    def drawn(self, own: int, draw: random.Random) -> Iterator[Contact]:
        """What a node knows that has lived long: up to k of every bucket, until no bucket can hold more."""
        left, at = len(self) - 1, 0
        while left > 0 and at < ID_BITS:
            members = self.bucket(own, at)
            for index in draw.sample(members, min(K, len(members))):
                yield self._sorted[index]
            left -= len(members)
            at += 1

    def nearest(self, target: int, count: int = K) -> list[Contact]:
        near = bisect_left(self._numbers, target)
        around = self._sorted[max(0, near - 1) : near + 1]
        depth = max(shared_prefix(contact.number, target) for contact in around)
        while True:
            rest = ID_BITS - depth
            low = bisect_left(self._numbers, target >> rest << rest)
            high = bisect_left(self._numbers, (target >> rest) + 1 << rest)
            if high - low >= count or not depth:
                found = self._sorted[low:high]
                return sorted(found, key=lambda contact: contact.number ^ target)[:count]
            depth -= 1
