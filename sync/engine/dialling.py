"""Whom to dial, where and when: devices of my spaces that are not connected, with back-off and jitter.

Addresses and transport keys come from device records, the newest first; a pairing or an invite leaves a first one
under PEER, which a record replaces.  They are hints: a wrong one costs an attempt.  Without addresses, or beside them,
a device is dialled by its transport key alone, as long as it announces that key.
`docs/protocol.md`, "Finding peers".
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from math import inf

from identity.codec import Reader, Writer
from identity.device import week_of
from identity.hints import Address
from identity.keys import Random, SigningKey
from sync.engine.effects import Dial
from sync.engine.inputs import FoundKey
from sync.engine.peer import Peer, Purpose
from sync.engine.profile import Profile
from sync.store.port import Table

FIRST = 0.3  # seconds until the second attempt
LONGEST = 60.0
GROWTH = 1.7
LASTING = 10.0  # seconds after which a connection counts as one that works
ASK_FIRST, ASK_LONGEST = (
    1.0,
    300.0,
)  # seconds between two questions to the DHT for one key, doubling
HURRY = 20.0  # seconds at least between two times that a device found at a topic is dialled before its time
MAX_HINTS = 8
MAX_HINT = 64


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """at: Unix ms of the record that says so; transports: T of its week and of the next; hints: "host:port"."""

    at: int
    transports: tuple[bytes, bytes]
    hints: tuple[str, ...]

    def transport(self, now: float) -> bytes:
        """T to dial now.  Of a record older than its two weeks the later one: it is accepted for eight more."""
        return self.transports[0 if week_of(now) <= week_of(self.at / 1000) else 1]

    def announced(self, now: float) -> bool:
        """Whether the device still announces that key: only in its own week."""
        return week_of(now) <= week_of(self.at / 1000) + 1


@dataclass(slots=True)
class Backoff:
    """Back-off of one device.  where: what was tried last, so that news start afresh; ask: from when its key may be
    asked for again; found: where it stood at a topic, for the next attempt."""

    next: float = 0.0
    wait: float = FIRST
    where: Whereabouts | None = None
    running: int = 0
    ask: float = 0.0
    ask_wait: float = ASK_FIRST
    hurried: float = 0.0
    found: FoundKey | None = None


@dataclass(frozen=True, slots=True)
class PendingDial:
    """A dial under way.  A key found at a topic has no device yet: topic and key say where, z is that of its space."""

    purpose: Purpose
    device: bytes | None
    local: SigningKey = field(repr=False)
    conversation: int = 0
    topic: bytes = b""
    key: bytes = b""
    z: bytes | None = field(default=None, repr=False)


class Dialling:
    """Keeps a connection to every device of the profile's spaces, as far as hints lead there."""

    def __init__(self, profile: Profile, peers: dict[int, Peer]) -> None:
        self.profile = profile
        self.peers = peers
        self.pending: dict[int, PendingDial] = {}
        self.online = False
        self.hints: tuple[str, ...] = ()  # where this node is reached,
        self.where: Whereabouts | None = None  # and the same with its keys, as others are told
        self._backoffs: dict[bytes, Backoff] = {}
        self._next = inf  # when the next attempt is due, as of the last `wake`
        self._seen: object = None  # what `wake` went by last; None: look again
        self._last = 0
        self.holders: set[bytes] = set()  # devices that keep a copy of my contacts and chats, whoever they are
        self.told: set[bytes] = set()  # devices that were told everything by this one, which is out
        self._owners: tuple[object, dict[bytes, bytes]] = None, {}

    def whereabouts(self) -> dict[bytes, Whereabouts]:
        """Every device that may be dialled -> the newest that is known of it.  What a feed says that only names the
        device counts where the device itself has said nothing."""
        found: dict[bytes, Whereabouts] = {}
        for key, value in self.profile.store.scan(Table.PEER):
            if (
                self.profile.directory.device(key) is None
                or self.profile.directory.is_active(key)
                or key in self.holders
            ):
                found[key] = decode_whereabouts(value)
        said = set(found)
        for space in self.profile.spaces.values():
            for core, writer in space.state.writers.items():
                report = space.reports.get(core)
                if report is None or not writer.open or writer.out:
                    continue
                known, proved = found.get(writer.device), space.proofs.proved(core)
                if not proved and writer.device in said:
                    continue
                if known is None or report.at > known.at or (proved and writer.device not in said):
                    found[writer.device] = Whereabouts(report.at, report.transports, report.hints)
                if proved:
                    said.add(writer.device)
        found.pop(self.profile.account.device, None)
        return found

    def owner(self, transport: bytes) -> bytes | None:
        """The device whose newest whereabouts name this transport key."""
        if self._owners[0] != self.profile.news:
            found = self.whereabouts().items()
            self._owners = self.profile.news, {key: device for device, where in found for key in where.transports}
        return self._owners[1].get(transport)

    def hurry(self, device: bytes, target: FoundKey, now: float) -> None:
        """The device stands at a topic: it is there now, so it is dialled soon."""
        attempt = self._backoffs.setdefault(device, Backoff())
        attempt.found = target
        if now < attempt.hurried:
            return
        self._seen = None
        attempt.hurried = now + HURRY
        attempt.next, attempt.wait = min(attempt.next, now), FIRST

    def remember(self, device: bytes, where: Whereabouts) -> None:
        """What a pairing or an invite told of a device before its first record."""
        self._seen, self._owners = None, (None, {})
        self.profile.context.batch.put(Table.PEER, device, encode_whereabouts(where))

    def wake(self, now: float) -> None:
        """Dials whoever is due.  Called after every tick: it looks only where something has changed or is due."""
        if not self.online:
            self._next = inf
            return
        connected = {peer.device or peer.to for peer in self.peers.values() if not peer.closing}
        seen = (self.profile.news, self.profile.directory.version, connected)
        if seen == self._seen and self._next > now:
            return
        self._seen, self._next = seen, inf
        waiting: list[float] = []
        blocked = {i for i, contact in self.profile.view.contacts.items() if contact.blocked}
        for device, where in self.whereabouts().items():
            known = self.profile.directory.device(device)
            if device in connected or known is None or known.identity in blocked:
                continue
            if not self.profile.directory.is_active(device) and device not in self.holders:
                continue
            if self.silent(known.identity, device):
                continue
            attempt = self._backoffs.setdefault(device, Backoff())
            if attempt.where != where:
                attempt.where, attempt.next, attempt.wait = where, min(attempt.next, now), FIRST
                attempt.ask, attempt.ask_wait = 0.0, ASK_FIRST
            if attempt.running:
                continue
            if attempt.next > now:
                waiting.append(attempt.next)
                continue
            self._attempt(device, attempt, where, now)
            if not attempt.running:
                waiting.append(attempt.next)
        self._next = min(waiting, default=inf)

    def silent(self, identity: bytes, device: bytes) -> bool:
        """Whether this device was shut out and has nothing to say there: it asks my other devices whether that still
        holds, and tells everybody once whom it shut out itself."""
        account, directory = self.profile.account, self.profile.directory
        if not self.profile.out or identity == account.identity:
            return False
        return device in self.told or not directory.shut_out_by(account.identity, account.device)

    def _attempt(self, device: bytes, attempt: Backoff, where: Whereabouts, now: float) -> None:
        """One dial: at the addresses known, and through the DHT unless it was asked for this key just now."""
        found, attempt.found = attempt.found, None
        target = found or FoundKey(b"", where.transport(now))
        ask = found is not None or (where.announced(now) and attempt.ask <= now)
        hints = self.usable((*map(hint_of, target.addresses), *where.hints))
        if not ask and not hints:
            attempt.next = attempt.ask if where.announced(now) else now + ASK_LONGEST
            return
        if ask:
            attempt.ask = now + attempt.ask_wait
            attempt.ask_wait = min(attempt.ask_wait * 2, ASK_LONGEST)
        pending = PendingDial(Purpose.HELLO, device, self.profile.account.transport(now))
        attempt.running = self.dial(pending, target.key, hints, announced=ask, relays=target.relays)

    def start_afresh(self) -> None:
        """Forgets how long to wait for whom."""
        for attempt in self._backoffs.values():
            attempt.next, attempt.wait = 0.0, FIRST
            attempt.ask, attempt.ask_wait, attempt.hurried = 0.0, ASK_FIRST, 0.0

    def dial(
        self,
        pending: PendingDial,
        remote: bytes,
        hints: tuple[str, ...],
        *,
        announced: bool = True,
        relays: tuple[Address, ...] = (),
    ) -> int:
        self._last += 1
        self.pending[self._last] = pending
        self.profile.effects.append(Dial(self._last, remote, self.usable(hints), pending.local, announced, relays))
        return self._last

    def usable(self, hints: tuple[str, ...]) -> tuple[str, ...]:
        """Those of somebody's hints that may be dialled from here."""
        local = any(is_loopback(hint) for hint in self.hints)
        return tuple(hint for hint in hints if is_host(hint) and (local or not is_loopback(hint)))

    def opened(self, attempt: int) -> PendingDial | None:
        self._seen = None
        pending = self.pending.pop(attempt, None)
        if pending is not None and pending.device is not None and pending.device in self._backoffs:
            self._backoffs[pending.device].running = 0
        return pending

    def failed(self, attempt: int, now: float) -> PendingDial | None:
        """The dial came to nothing; the next one waits longer."""
        pending = self.opened(attempt)
        if pending is not None and pending.device is not None:
            self.back_off(pending.device, now)
        return pending

    def back_off(self, device: bytes, now: float) -> None:
        self._seen = None
        attempt = self._backoffs.setdefault(device, Backoff())
        attempt.next = now + attempt.wait * (0.75 + jitter(self.profile.rng) / 2)
        attempt.wait = min(attempt.wait * GROWTH, LONGEST)

    def lost(self, device: bytes, proved_at: float, now: float) -> None:
        """A proved connection is gone: soon again, unless it did not last; then somebody keeps ending it."""
        if now - proved_at < LASTING:
            self.back_off(device, now)
            return
        self._seen = None
        attempt = self._backoffs.setdefault(device, Backoff())
        attempt.wait = FIRST
        attempt.next = now + FIRST * jitter(self.profile.rng)

    def next_wake(self) -> float:
        """When the next device is due; infinity where all are connected, or nothing leads to those that are not."""
        return self._next


def hint_of(address: Address) -> str:
    """ "host:port" of an address; an IPv6 host stands in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(hint: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in "host:port"; None for anything else."""
    try:
        return ipaddress.ip_address(hint.rpartition(":")[0].strip("[]"))
    except ValueError:
        return None


def is_host(hint: str) -> bool:
    """Whether one host answers there: a hint must not make us shout at a network."""
    host = host_of(hint)
    if host is None or host.is_multicast or host.is_unspecified:
        return False
    return host != ipaddress.IPv4Address("255.255.255.255")


def is_loopback(hint: str) -> bool:
    """This machine: dialled only by nodes that are themselves told to be there (tests, several profiles on one)."""
    host = host_of(hint)
    return host is not None and host.is_loopback


def jitter(rng: Random) -> float:
    """0 to 1."""
    return int.from_bytes(rng(2), "little") / 65_535


def encode_whereabouts(where: Whereabouts) -> bytes:
    """at | T this week | T next week | hints."""
    out = Writer().fixed_uint(where.at, 8).raw(where.transports[0]).raw(where.transports[1])
    return out.array(where.hints[:MAX_HINTS], Writer.string).finish()


def decode_whereabouts(data: bytes) -> Whereabouts:
    """Raises DecodeError."""
    reader = Reader(data)
    at, this, following = reader.fixed_uint(8), reader.fixed(32), reader.fixed(32)
    hints = tuple(reader.array(lambda r: r.string(MAX_HINT), MAX_HINTS))
    reader.end()
    return Whereabouts(at, (this, following), hints)


__all__ = ["Backoff", "Dialling", "PendingDial", "Whereabouts", "decode_whereabouts", "encode_whereabouts"]
