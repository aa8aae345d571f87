"""mDNS names by which devices of one local network find each other, and which names heard are readable.  Sans-IO.

`docs/protocol.md`, "LAN".  A device that knows a rendezvous (the 32 bytes of a topic, or `rendezvous_of` a peer's key)
recognises its names and reads the key behind them.  To all others the names are random bytes that change every day and
differ in every network: they show no device name, no key and no topic, and cannot be linked across days.

One `Lan` is one network.  Its shell (`shell/mdns.py`) performs what `take_effects` returns:

    lan.heard(label, body, port, addresses)     a complete name that is on the network now
    lan.gone(label)                             a name that was withdrawn or expired
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

DRAW = 8  # random bytes of a name
MARK = 12  # bytes of a name that are derived from the rendezvous
LABEL = (DRAW + MARK) * 8 // 5  # characters
BODY = 32 + SEAL_TAG  # the key, sealed
DAYS = (0, -1, 1)  # names of these days are recognised: clocks differ, and names change some time after midnight
CHANGE = (0.0, 3600.0)  # seconds from the first sight of a day until its names are made
MAX_JOINED = 128  # rendezvous at once; the multicast packets that list them stay few
MAX_HEARD = 512  # names remembered; the oldest is dropped for a new one
MAX_ADDRESSES = 4  # of one name


@dataclass(frozen=True, slots=True)
class Notice:
    """One mDNS instance: `label` is its name, `body` its text record."""

    label: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    """Put this notice on the network."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take this notice off the network."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class PeerFound:
    """A name at this rendezvous claims `key` at these addresses.  Only a connection proves it."""

    rendezvous: bytes
    key: bytes
    addresses: tuple[Address, ...]


Effect = Publish | Withdraw | PeerFound


def rendezvous_of(key: bytes) -> bytes:
    """The rendezvous (32 bytes) of a peer of which only the public key is known."""
    return derive(key, Label.LAN_SELF)


def make_notice(rendezvous: bytes, key: bytes, day: int, draw: bytes) -> Notice:
    """The notice of `key` for one day (days since 1970, UTC); `draw` is 8 random bytes, used once."""
    label = base32(draw + _mark(rendezvous, day, draw)).lower()
    return Notice(label, seal(_sealing_key(rendezvous, day, draw), bytes(SEAL_NONCE), key))


def recognise(label: str, rendezvous: Iterable[bytes], day: int) -> tuple[bytes, int] | None:
    """(rendezvous, day) of a name, None if it belongs to none of these.  Raises DecodeError for no name of ours."""
    draw, mark = _parts(label)
    for one in rendezvous:
        for offset in DAYS:
            if compare_digest(_mark(one, day + offset, draw), mark):
                return one, day + offset
    return None


def read_notice(notice: Notice, rendezvous: bytes, day: int) -> bytes:
    """The public key in a recognised notice.  Raises DecodeError if the body was not sealed for it."""
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
    """One rendezvous that we joined: `key` is published unless it is None, peers are reported if `client`."""

    key: bytes | None
    client: bool
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A name on the network: its text record, and usable addresses."""

    body: bytes
    addresses: tuple[Address, ...]


class Lan:
    """The names of one network, ours and others'.  `day`: days since 1970, UTC; `rng(size)` draws names and jitter."""

    def __init__(self, rng: Random, day: int) -> None:
        self._rng = rng
        self._day = day
        self._joined: dict[bytes, Joined] = {}
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._effects: list[Effect] = []
        self._next_day_at = inf  # when the names of a new day are made

    def join(self, rendezvous: bytes, key: bytes | None, *, client: bool) -> bool:
        """Publishes `key` there unless it is None, and reports peers there if `client`.  False: too many joined."""
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
        """Ends `join` and withdraws its name."""
        joined = self._joined.pop(rendezvous, None)
        if joined is not None and joined.notice is not None:
            self._effects.append(Withdraw(joined.notice))

    def known(self, label: str) -> bool:
        """Whether a name belongs to a rendezvous of ours, so that its missing records should be queried."""
        try:
            return recognise(label.lower(), self._joined, self._day) is not None
        except DecodeError:
            return False

    def heard(self, label: str, body: bytes, port: int, addresses: Iterable[str]) -> None:
        """A name is on the network.  Malformed ones and echoes of our own are ignored."""
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
        """A name left the network."""
        self._heard.pop(label.lower(), None)

    def wake(self, day: int, now: float) -> None:
        """The present day and time.  At a random moment of a new day's first hour all names are renewed together: they
        share one address anyway, and names that changed at different times could be told apart."""
        if day == self._day:
            self._next_day_at = inf
        elif self._next_day_at == inf and abs(day - self._day) == 1:
            self._next_day_at = now + between(self._rng, *CHANGE)
        elif self._next_day_at <= now or abs(day - self._day) > 1:
            self._renew(day)

    def next_wake(self) -> float:
        """When `wake` is due to renew the names; math.inf: never.  The shell itself notices a new day."""
        return self._next_day_at

    def take_effects(self) -> list[Effect]:
        """The effects ordered since the last call, in order."""
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
            return  # a copied name with another body
        if key != self._joined[rendezvous].key:
            self._effects.append(PeerFound(rendezvous, key, heard.addresses))


def local(host: str) -> bool:
    """Whether a host is a private IPv4 address: a name heard here must not make us send to the Internet."""
    try:
        address = IPv4Address(host)
    except ValueError:
        return False
    return address.is_private and not (address.is_unspecified or address.is_multicast or address.is_reserved)
