"""Which of the nodes that others name a walk asks, judged by what came of the names that each referrer gave.

Anybody can name twenty addresses next to any target.  Each costs us a request and a wait, and only its silence shows
that it was invented.  So a walk counts for each referrer:

    credit         4 of its names may be unanswered at a time, 2 more for each that answered
    discredited    it named at least 2 that stayed silent, and more than twice as many as answered
    crowded        a public network (/24) of which 8 nodes were asked

Nodes that only discredited referrers name, and nodes of crowded networks, wait until nobody better is left to ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from netstack.dht.contact import Contact
from netstack.udp.port import Address

CREDIT = 4
EARNED = 2
SILENT = 2  # one may be bad luck
RATE = 2  # silent names to one that answered: an honest node after a third of the network died has 1 to 2
OF_A_PLACE = 8  # asked as long as others are left: twice as many as may be among the closest


class Referrers:
    """The book of one walk.  `referrers` are those that named a node; one that we knew ourselves needs none.

    `trusted` nodes may name as many as they like: the first walk of all hears of everybody through one of them.
    """

    __slots__ = ("_answered", "_asked", "_pending", "_silent", "_trusted")

    def __init__(self, trusted: Iterable[Address]) -> None:
        self._trusted = frozenset(trusted)
        self._pending: Counter[Address] = Counter()
        self._answered: Counter[Address] = Counter()
        self._silent: Counter[Address] = Counter()
        self._asked: Counter[bytes] = Counter()

    def asked(self, contact: Contact, referrers: Iterable[Address]) -> None:
        """A node was asked that `referrers` have named."""
        self._asked[contact.place] += 1
        for referrer in referrers:
            self._pending[referrer] += 1

    def silent(self, referrers: Iterable[Address]) -> None:
        """It did not answer its first try."""
        for referrer in referrers:
            self._pending[referrer] -= 1
            self._silent[referrer] += 1

    def answered(self, referrers: Iterable[Address], *, at_last: bool) -> None:
        """`at_last`: it had counted as silent."""
        counted = self._silent if at_last else self._pending
        for referrer in referrers:
            self._answered[referrer] += 1
            counted[referrer] -= 1

    def held_back(self, referrers: Collection[Address]) -> bool:
        """Whether all its referrers have used up their credit."""
        return bool(referrers) and all(map(self._out_of_credit, referrers))

    def _out_of_credit(self, referrer: Address) -> bool:
        return referrer not in self._trusted and self._pending[referrer] >= CREDIT + EARNED * self._answered[referrer]

    def discredited(self, referrer: Address) -> bool:
        """Whether too many of the names of that node lead nowhere."""
        silent = self._silent[referrer]
        return silent >= SILENT and silent > RATE * self._answered[referrer]

    def crowded(self, contact: Contact) -> bool:
        """Whether enough nodes of its network were asked."""
        return self._asked[contact.place] >= OF_A_PLACE

    def unheard_of(self, referrers: Collection[Address]) -> bool:
        """Whether only discredited referrers named it."""
        return bool(referrers) and all(map(self.discredited, referrers))
