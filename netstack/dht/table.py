"""The routing table: for every length of prefix shared with our own id, at most k = 20 nodes.

The table decides which nodes fit and which are closest; `upkeep.py` decides which to ask whether they still live.
Times are ticks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from netstack.dht.contact import Contact, shared_prefix
from netstack.udp.port import Address

K = 20
NEIGHBOURS = 5  # the deepest buckets, as many as 2 ** 5 nodes fill; they hold whom there is
OF_A_PLACE = 4  # nodes of one public network (/24) in a full bucket, if others want to get in


class Entry:
    """A node in the table."""

    __slots__ = ("added", "contact", "hints", "number", "pinged", "sampled", "seen")

    def __init__(self, contact: Contact, tick: int) -> None:
        self.contact = contact
        self.number = contact.number
        self.added = tick
        self.pinged = tick  # when we last asked it, or heard from it
        self.seen = tick  # when we last heard from it
        self.sampled = -1  # when it last told us our address, -1 for never
        self.hints = 0  # how often others called it dead

    @property
    def address(self) -> Address:
        """Where the node is."""
        return self.contact.address


class RoutingTable:
    """The nodes that a node with the id `own` knows, k at most for every length of shared prefix."""

    def __init__(self, own: bytes) -> None:
        self.own = own
        self._own = int.from_bytes(own, "big")
        self._buckets: list[list[Entry]] = []  # by shared prefix, as far as there is one
        self._entries: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, id: bytes) -> Entry | None:
        """The node with that id, if it is here."""
        return self._entries.get(id)

    def add(self, entry: Entry) -> bool:
        """False where it is there already, is ourselves, or its bucket is full."""
        contact = entry.contact
        if contact.id in self._entries or contact.id == self.own:
            return False
        at = shared_prefix(self._own, contact.number)
        while len(self._buckets) <= at:
            self._buckets.append([])
        if len(self._buckets[at]) >= K:
            return False
        self._buckets[at].append(entry)
        self._entries[contact.id] = entry
        return True

    def remove(self, id: bytes) -> Entry | None:
        """Removes and returns the node with that id, if it is here."""
        entry = self._entries.pop(id, None)
        if entry is not None:
            self._buckets[shared_prefix(self._own, entry.contact.number)].remove(entry)
        return entry

    def bucket(self, contact: Contact) -> list[Entry]:
        """The bucket that `contact` belongs to.  Not to be changed."""
        at = shared_prefix(self._own, contact.number)
        return self._buckets[at] if at < len(self._buckets) else []

    def crowd(self, contact: Contact) -> Entry | None:
        """Who makes room for `contact`: the newest of the place that has most of its bucket, if that is too many."""
        bucket = self.bucket(contact)
        places = Counter(entry.contact.place for entry in bucket)
        place, count = max(places.items(), key=lambda item: item[1], default=(b"", 0))
        if count <= OF_A_PLACE or places[contact.place] >= OF_A_PLACE:
            return None
        return next(entry for entry in reversed(bucket) if entry.contact.place == place)

    def closest(self, target: bytes, count: int = K) -> list[Contact]:
        """The `count` nodes nearest to `target`, nearest first.

        Whoever asks may stop reading at the first node that does not help it, hence the order.
        """
        number = int.from_bytes(target, "big")
        at = shared_prefix(self._own, number)
        buckets = self._buckets

        def distance(entry: Entry) -> int:
            return entry.number ^ number

        # Nodes that leave our own prefix where the target does are nearest to it ...
        chosen = sorted(buckets[at], key=distance)[:count] if at < len(buckets) else []
        if len(chosen) < count:  # ... then those that stay with us longer, all mixed ...
            deeper = [entry for bucket in buckets[at + 1 :] for entry in bucket]
            chosen += sorted(deeper, key=distance)[: count - len(chosen)]
        for bucket in reversed(buckets[:at]):  # ... then every shorter prefix is farther than all before.
            if len(chosen) >= count:
                break
            chosen += sorted(bucket, key=distance)[: count - len(chosen)]
        return [entry.contact for entry in chosen]

    def latest(self, count: int) -> list[Address]:
        """The `count` nodes heard last, last first."""
        entries = sorted(self, key=lambda entry: entry.seen, reverse=True)
        return [entry.address for entry in entries[:count]]

    def gaps(self) -> list[int]:
        """Buckets (prefix lengths) that should be full, as deep as the neighbourhood is, and hold nobody.

        Who joins learns his own neighbourhood and whom he met on the way there.  A part of the id space that nobody of
        a neighbourhood knows cannot be reached through it.
        """
        return [at for at in range(self.depth() - NEIGHBOURS) if not self._buckets[at]]

    def rebased(self, own: bytes) -> RoutingTable:
        """The same nodes as seen from another id; those that do not fit are left out."""
        table = RoutingTable(own)
        for entry in sorted(self, key=lambda entry: entry.added):
            table.add(entry)
        return table

    def depth(self) -> int:
        """The longest prefix that anybody here shares with us."""
        return max((at for at, bucket in enumerate(self._buckets) if bucket), default=0)
