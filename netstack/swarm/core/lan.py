"""Names under which devices of one network find each other, and which of the names heard are ours to know.  Sans-IO.

`docs/protocol.md`, "LAN".  Whoever knows a rendezvous (the 32 bytes of a topic, or what `rendezvous_of` makes of a
peer's key) recognises its names and reads the key behind them.  Everybody else sees random bytes that change every day
and differ in every network: no device name, no key, no topic, nothing that is the same tomorrow.

One `Lan` is one network.  Its shell (`shell_mdns.py`) carries out what `effects` says:

    lan.heard(label, body, port, addresses)     a name that is on the network now, whole
    lan.gone(label)                             it said goodbye, or ran out
    lan.wake(day, now)                          the UTC day, and when `next_wake` has come

Tables: `MAX_JOINED` rendezvous, `MAX_HEARD` names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import IPv4Address
from math import inf

from identity.digest import base32, derive, unbase32
from identity.errors import DecodeError
from identity.keys import Random, check_point
from identity.labels import Label
from identity.seal import NONCE as SEAL_NONCE
from identity.seal import TAG as SEAL_TAG
from identity.seal import open_sealed, seal
from netstack.swarm.core.jitter import between
from netstack.udp.port import Address

DRAW = 8  # bytes of a name that are drawn
MARK = 12  # bytes of a name by which those who know the rendezvous recognise it
LABEL = (DRAW + MARK) * 8 // 5  # characters
BODY = 32 + SEAL_TAG  # the key, sealed
DAYS = (0, -1, 1)  # whose names are recognised beside today's: clocks differ, and names change some time after midnight
CHANGE = (0.0, 3600.0)  # seconds after a day was first seen that its names are made
MAX_JOINED = 128  # rendezvous at once; the multicast packets that list them stay few
MAX_HEARD = 512  # names remembered; beyond, the oldest goes
MAX_ADDRESSES = 4  # of one name


@dataclass(frozen=True, slots=True)
class Notice:
    """What is put on the network: `label` names the instance, `body` is its text record."""

    label: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    notice: Notice


@dataclass(frozen=True, slots=True)
class Withdraw:
    notice: Notice


@dataclass(frozen=True, slots=True)
class Meet:
    """At this rendezvous there is `key`, at these addresses.  A claim: a connection will show."""

    rendezvous: bytes
    key: bytes
    addresses: tuple[Address, ...]


Effect = Publish | Withdraw | Meet


def rendezvous_of(key: bytes) -> bytes:
    """Where a peer is met of which nothing but its key is known."""
    return derive(key, Label.LAN_SELF)


def make_notice(rendezvous: bytes, key: bytes, day: int, draw: bytes) -> Notice:
    """A name of this day for `key`; `draw` is 8 random bytes, used once."""
    label = base32(draw + _mark(rendezvous, day, draw)).lower()
    return Notice(label, seal(_sealing_key(rendezvous, day, draw), bytes(SEAL_NONCE), key))


def recognise(label: str, rendezvous: Iterable[bytes], day: int) -> tuple[bytes, int] | None:
    """Which of these rendezvous a name belongs to, and of which day it is; None for strangers'."""
    draw, mark = _parts(label)
    for one in rendezvous:
        for offset in DAYS:
            if compare_digest(_mark(one, day + offset, draw), mark):
                return one, day + offset
    return None


def read_notice(notice: Notice, rendezvous: bytes, day: int) -> bytes:
    """The key behind a recognised name.  Raises DecodeError."""
    draw, _ = _parts(notice.label)
    if len(notice.body) != BODY:
        raise DecodeError("not the body of a notice")
    return check_point(open_sealed(_sealing_key(rendezvous, day, draw), bytes(SEAL_NONCE), notice.body))


def _parts(label: str) -> tuple[bytes, bytes]:
    if len(label) != LABEL or not label.isascii():
        raise DecodeError("not the name of a notice")
    raw = unbase32(label.upper())
    return raw[:DRAW], raw[DRAW:]


def _mark(rendezvous: bytes, day: int, draw: bytes) -> bytes:
    return derive(rendezvous, Label.LAN_NAME, day.to_bytes(4, "little", signed=True), draw, size=MARK)


def _sealing_key(rendezvous: bytes, day: int, draw: bytes) -> bytes:
    return derive(rendezvous, Label.LAN_KEY, day.to_bytes(4, "little", signed=True), draw)


@dataclass(slots=True)
class Joined:
    """One rendezvous of ours: `key` is announced there unless it is None, peers are told if `client`."""

    key: bytes | None
    client: bool
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    body: bytes
    addresses: tuple[Address, ...]


class Lan:
    """The names of one network, ours and others'."""

    def __init__(self, rng: Random, day: int) -> None:
        self._rng = rng
        self._day = day
        self._joined: dict[bytes, Joined] = {}
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._effects: list[Effect] = []
        self._next_day_at = inf  # when the names of a new day are made

    def join(self, rendezvous: bytes, key: bytes | None, *, client: bool) -> bool:
        """Announces `key` there, unless None, and tells of peers there if `client`.  False: too many at once."""
        known = self._joined.get(rendezvous)
        if known is None and len(self._joined) >= MAX_JOINED:
            return False
        if known is not None and known.key == key:
            known.client = client
        else:
            self.leave(rendezvous)
            notice = None
            if key is not None:
                notice = make_notice(rendezvous, key, self._day, self._rng(DRAW))
                self._effects.append(Publish(notice))
            self._joined[rendezvous] = Joined(key, client, notice)
        if client:
            for label, heard in self._heard.items():
                self._match(label, heard, [rendezvous])
        return True

    def leave(self, rendezvous: bytes) -> None:
        joined = self._joined.pop(rendezvous, None)
        if joined is not None and joined.notice is not None:
            self._effects.append(Withdraw(joined.notice))

    def known(self, label: str) -> bool:
        """Whether it is worth asking the network for the rest of that name."""
        try:
            return recognise(label.lower(), self._joined, self._day) is not None
        except DecodeError:
            return False

    def heard(self, label: str, body: bytes, port: int, addresses: Iterable[str]) -> None:
        """A name is on the network.  Others' may be anything; ours come back to us and are passed over."""
        label = label.lower()
        try:
            _parts(label)
        except DecodeError:
            return
        usable = [(host, port) for host in addresses if local(host)][:MAX_ADDRESSES]
        if len(body) != BODY or not usable or not 0 < port <= 0xFFFF:
            return
        heard = self._heard[label] = Heard(body, tuple(usable))
        self._heard.move_to_end(label)
        if len(self._heard) > MAX_HEARD:
            self._heard.popitem(last=False)
        self._match(label, heard, [one for one, joined in self._joined.items() if joined.client])

    def gone(self, label: str) -> None:
        self._heard.pop(label.lower(), None)

    def wake(self, day: int, now: float) -> None:
        """Tells what time it is.  Some time into a new day every name is made anew, all of them together: they stand
        at one address anyway, and what changes at different times could be told apart."""
        if day == self._day:
            self._next_day_at = inf
        elif self._next_day_at == inf and abs(day - self._day) == 1:
            self._next_day_at = now + between(self._rng, *CHANGE)
        elif self._next_day_at <= now or abs(day - self._day) > 1:
            self._renew(day)

    def next_wake(self) -> float:
        """When the names are next due; the change of the day itself is the shell's to notice."""
        return self._next_day_at

    def effects(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # inner

    def _renew(self, day: int) -> None:
        self._day = day
        self._next_day_at = inf
        for rendezvous, joined in self._joined.items():
            if joined.notice is not None and joined.key is not None:
                self._effects.append(Withdraw(joined.notice))
                joined.notice = make_notice(rendezvous, joined.key, day, self._rng(DRAW))
                self._effects.append(Publish(joined.notice))

    def _match(self, label: str, heard: Heard, among: list[bytes]) -> None:
        found = recognise(label, among, self._day)
        if found is None:
            return
        rendezvous, day = found
        try:
            key = read_notice(Notice(label, heard.body), rendezvous, day)
        except DecodeError:
            return  # a name that was copied, with a body of somebody's own
        if key != self._joined[rendezvous].key:
            self._effects.append(Meet(rendezvous, key, heard.addresses))


def local(host: str) -> bool:
    """An address of a network like this one: a name heard here must not make us send anything to elsewhere."""
    try:
        address = IPv4Address(host)
    except ValueError:
        return False
    return address.is_private and not (address.is_unspecified or address.is_multicast or address.is_reserved)
