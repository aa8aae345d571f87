"""Everybody's devices, as the fold over each identity's statements has them.

Anybody can sign a certificate that names any identity, so a statement says nothing before it is reached from that
identity's root key (`identity.device_set`).  What is not reached yet waits in a small pool: a missing link may come.
Only identities that somebody who may speak for them has named are kept.  Statements inside control entries are in the
store already; what arrived otherwise (in a pairing, an invite) is kept under META.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from identity.device_set import (
    Device,
    active_devices,
    fold,
    generation_of,
    issued_by,
    relevant,
    sendable,
    standing_devices,
)
from identity.errors import DecodeError, KithkinError
from identity.evidence import chain, evidence
from identity.hello import ExpectedDevice, expected_devices
from identity.keys import AgreementKey
from identity.statement import MAX_STATEMENT_SET, MAX_STATEMENTS, Certificate, Revocation, Statement, decode_statement
from sync.store.port import Batch, Store, Table, prefix_end

MAX_TOLD = 1024  # identities that one space may make known: four times its members
MAX_POOL = 64  # statements of one identity that nothing reaches yet; the oldest go first
MAX_FORMER = 64  # devices of one identity that are known although the root key's newest word leaves them out
MAX_SENT = 24  # of an identity whose relevant statements no message takes,
MAX_SENT_BYTES = 24 * 1024  # and no more than these
_PREFIX = b"statement/"


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device that its identity's root key reaches, whether or not it is active."""

    id: bytes
    identity: bytes
    signing: bytes
    agreement: bytes


@dataclass(slots=True)
class _Family:
    """One identity: statements that the root key reaches or signed, and a pool of others; both by id."""

    rooted: dict[bytes, Statement] = field(default_factory=dict)
    pool: dict[bytes, Statement] = field(default_factory=dict)
    devices: dict[bytes, KnownDevice] = field(default_factory=dict)
    active: tuple[Device, ...] = ()
    standing: frozenset[bytes] = frozenset()
    decisive: tuple[Statement, ...] | None = None  # made when it is asked for


class Directory:
    """own: our D, from which the pairwise secrets with every known device follow (kept, each costs an X25519)."""

    def __init__(self, own: AgreementKey) -> None:
        self._own = own
        self._families: dict[bytes, _Family] = {}
        self._owners: dict[bytes, KnownDevice] = {}
        self._shared: dict[bytes, bytes] = {}  # D -> what this device shares with it
        self._told: dict[bytes, int] = {}  # space -> identities first heard of there
        self.version = 0  # how often something was learnt
        self._departed: list[KnownDevice] = []  # that stood until something was learnt just now
        self._returned: set[bytes] = set()  # identities of which a device stands again since

    def learn(
        self, encoded: Iterable[bytes], only: Collection[bytes] | None = None, by: bytes | None = None
    ) -> list[Statement]:
        """Takes in what is good and new, and returns what the root keys reach of it.

        only: the identities that whoever told us may speak of; statements of others are left out.  by: the space that
        they stand in, which makes so many identities known and no more; people met face to face are always heard.
        """
        told: dict[bytes, dict[bytes, Statement]] = {}
        for data in encoded:
            try:
                statement = decode_statement(data)
            except DecodeError:
                continue
            if only is None or statement.identity in only:
                told.setdefault(statement.identity, {})[statement.id] = statement
        fresh: list[Statement] = []
        for identity, statements in told.items():
            fresh += self._learn(identity, statements, by)
        return fresh

    def _learn(self, identity: bytes, told: dict[bytes, Statement], by: bytes | None) -> list[Statement]:
        family = self._families.get(identity)
        if family is None:
            family = _Family()
        new = {id_: s for id_, s in told.items() if id_ not in family.rooted}
        if not new:
            return []
        everything = {**family.rooted, **family.pool, **new}
        found = fold(everything.values(), identity)
        if found is None:
            return []  # its root key has said nothing: whoever it is, it has no devices
        if identity not in self._families:
            if by is not None:
                if self._told.get(by, 0) >= MAX_TOLD:
                    return []
                self._told[by] = self._told.get(by, 0) + 1
            self._families[identity] = family
        reached = {s.id for s in found.reached} | {s.id for s in found.revocations}
        # What the root key signed is kept for good: what it replaces today it may list tomorrow.
        rooted = {i: s for i, s in everything.items() if i in reached or s.issuer is None or i in family.rooted}
        fresh = [s for i, s in rooted.items() if i not in family.rooted]
        waiting = {i: s for i, s in everything.items() if i not in rooted}
        self.version += 1
        family.rooted = rooted
        standing = frozenset(found.since) - found.revoked
        self._departed += [family.devices[id_] for id_ in sorted(family.standing - standing) if id_ in family.devices]
        if (standing - family.standing) & family.devices.keys():
            self._returned.add(identity)
        family.standing, family.decisive = standing, None
        family.pool = dict(list(waiting.items())[-MAX_POOL:])
        family.active = active_devices(rooted.values(), identity)
        for c in (*former_certificates(everything.values()), *found.reached):
            family.devices[c.device] = KnownDevice(c.device, identity, c.signing, c.agreement)
        for device in family.devices.values():
            self._owners.setdefault(device.id, device)
        return fresh

    def device(self, device: bytes) -> KnownDevice | None:
        """The device and whose it is.  A device that let two identities certify it is that of the first one seen."""
        return self._owners.get(device)

    def agreements(self) -> list[bytes]:
        """D of every device known."""
        return [known.agreement for known in self._owners.values()]

    def active(self, identity: bytes) -> tuple[Device, ...]:
        """Oldest first, at most six."""
        family = self._families.get(identity)
        return () if family is None else family.active

    def is_active(self, device: bytes) -> bool:
        known = self._owners.get(device)
        return known is not None and any(entry.id == device for entry in self.active(known.identity))

    def statements(self, identity: bytes) -> tuple[Statement, ...]:
        """Those that decide the device set now."""
        family = self._families.get(identity)
        if family is None:
            return ()
        if family.decisive is None:
            family.decisive = relevant(family.rooted.values(), identity)
        return family.decisive

    def certificates(self, identity: bytes) -> dict[bytes, Certificate]:
        """Device -> a certificate of it, of every device that anybody certified for the identity: of several the
        one of the lowest generation, then the oldest."""
        family = self._families.get(identity)
        known = [*family.rooted.values(), *family.pool.values()] if family is not None else []
        found: dict[bytes, Certificate] = {}
        for certificate in sorted(
            (s for s in known if isinstance(s, Certificate)), key=lambda c: (c.generation, c.created, c.id)
        ):
            found.setdefault(certificate.device, certificate)
        return found

    def know_former(self, certificate: Certificate) -> None:
        """A device of a generation that the root key replaced, before its certificate was known here: it may be met,
        and is out."""
        device = KnownDevice(certificate.device, certificate.identity, certificate.signing, certificate.agreement)
        family = self._families.get(certificate.identity)
        if family is not None:
            family.devices.setdefault(device.id, device)
            self._owners.setdefault(device.id, device)

    def out(self, identity: bytes, devices: Iterable[bytes]) -> frozenset[bytes]:
        """Those of these devices of the identity that its statements do not show as standing: revoked, fallen with
        their issuer, or left out by the root key's newest word."""
        family = self._families.get(identity)
        return frozenset() if family is None else frozenset(devices) - family.standing

    def is_out(self, device: bytes) -> bool:
        """Whether a device was shut out of the identity that it belongs to."""
        known = self._owners.get(device)
        return known is not None and bool(self.out(known.identity, (device,)))

    def generation(self, identity: bytes) -> int:
        """The generation that new statements of an active device carry.  Raises LookupError for an unknown identity."""
        family = self._families.get(identity)
        found = generation_of(family.rooted.values(), identity) if family is not None else None
        if found is None:
            raise LookupError("nothing is known of that identity")
        return found

    def issued_by(self, identity: bytes, device: bytes) -> tuple[Certificate, ...]:
        """Certificates in force that a device issued, for active devices."""
        family = self._families.get(identity)
        if family is None:
            return ()
        active = {entry.id for entry in family.active}
        return tuple(c for c in issued_by(family.rooted.values(), identity, device) if c.device in active)

    def shut_out_by(self, identity: bytes, device: bytes) -> list[bytes]:
        """Devices that this one revoked, whether or not it is out itself."""
        family = self._families.get(identity)
        known = family.rooted.values() if family is not None else ()
        return sorted({s.device for s in known if isinstance(s, Revocation) and s.issuer == device})

    def gave_way(self, identity: bytes, device: bytes) -> bool:
        """Whether a device is out by its own word alone: its store was put back, and goes on as another one.  Whoever
        has that backup can do the same again, until somebody else shuts the device out."""
        family = self._families.get(identity)
        found = fold(family.rooted.values(), identity) if family is not None else None
        by = {s.issuer for s in found.revocations if s.device == device} if found is not None else set()
        return by == {device}

    def places_taken(self, identity: bytes, device: bytes) -> list[bytes]:
        """Devices that gave way to this one, or to one that gave way to it."""
        family = self._families.get(identity)
        known = family.rooted.values() if family is not None else ()
        issuers: dict[bytes, set[bytes]] = {}
        for s in known:
            if isinstance(s, Certificate) and s.issuer is not None:
                issuers.setdefault(s.device, set()).add(s.issuer)
        found, waiting = set[bytes](), [device]
        while waiting:
            for issuer in issuers.get(waiting.pop(), set()) - found:
                if self.gave_way(identity, issuer):
                    found.add(issuer)
                    waiting.append(issuer)
        return sorted(found)

    def take_returned(self) -> set[bytes]:
        """Identities of which devices stand, by what was learnt since the last call, that were known before."""
        found, self._returned = self._returned, set()
        return found

    def kept(self, device: bytes) -> bool:
        """Whether a device stands because the root key's newest word lists it: it may not have heard that word."""
        known = self._owners.get(device)
        if known is None or self.out(known.identity, (device,)):
            return False
        newest = self.generation(known.identity)
        found = [s for s in self.statements(known.identity) if isinstance(s, Certificate) and s.device == device]
        return bool(found) and all(certificate.generation < newest for certificate in found)

    def take_departed(self) -> list[KnownDevice]:
        """Devices that stood and are out now, by what was learnt since the last call."""
        found, self._departed = self._departed, []
        return found

    def sent(self, identity: bytes) -> tuple[Statement, ...]:
        """As many of them as one message takes, those nearest to the root key first."""
        family = self._families.get(identity)
        if family is None:
            return ()
        try:
            return sendable(family.rooted.values(), identity)
        except KithkinError:
            # A stolen device made hundreds: those nearest to the root key name every device that is worth naming.
            found: list[Statement] = []
            size = 0
            for statement in self.statements(identity)[:MAX_SENT]:
                size += len(statement.encoded)
                if size > MAX_SENT_BYTES:
                    break
                found.append(statement)
            return tuple(found)

    def encoded(self, identity: bytes, device: bytes | None = None) -> tuple[bytes, ...]:
        """`sent`, as bytes.  device: one of it that they have to show as standing, by themselves."""
        found = self.sent(identity)
        if device is not None and device not in (standing_devices(found, identity) or ()):
            found = chain(self._families[identity].rooted.values(), identity, device) if found else ()
        return tuple(statement.encoded for statement in found)

    def evidence(self, identity: bytes, device: bytes) -> tuple[bytes, ...]:
        """The fewest statements that show a device as out, encoded; empty if it stands, nothing is known, or a flood of
        certificates for it made them more than an operation takes."""
        family = self._families.get(identity)
        if family is None:
            return ()
        known = (*family.rooted.values(), *family.pool.values())
        found = tuple(statement.encoded for statement in evidence(known, identity, device))
        fits = len(found) <= MAX_STATEMENTS and sum(map(len, found)) <= MAX_STATEMENT_SET
        return found if fits else ()

    def shared(self, device: bytes) -> bytes | None:
        """DH(D own, D device), 32 bytes; None for a device nobody certified."""
        known = self._owners.get(device)
        found = self.expected([(device, known.agreement)]) if known is not None else []
        return found[0].secret if found else None

    def become(self, own: AgreementKey) -> None:
        """This device goes on under another D: what it shares with the others is new."""
        self._own, self._shared = own, {}
        self.version += 1

    def expected(self, devices: Iterable[tuple[bytes, bytes]]) -> list[ExpectedDevice]:
        """(device id, D) pairs with what this device shares with each, for the device handshake."""
        return expected_devices(self._own, devices, self._shared)


def former_certificates(statements: Iterable[Statement]) -> list[Certificate]:
    """Certificates that reach the root key in whatever generation: their devices are known, and may be out.  A store
    that is read at once has them beside the newest generation, which alone says who stands."""
    waiting = [s for s in statements if isinstance(s, Certificate)]
    waiting.sort(key=lambda c: (c.issuer is not None, c.created, c.id))
    found: list[Certificate] = []
    known: set[bytes] = set()
    more = True
    while more and len(found) < MAX_FORMER:
        reached = [c for c in waiting if c.issuer is None or c.issuer in known][: MAX_FORMER - len(found)]
        more = bool(reached)
        found += reached
        known |= {c.device for c in reached}
        taken = {c.id for c in reached}
        waiting = [c for c in waiting if c.id not in taken]
    return found


def put_statements(batch: Batch, statements: Iterable[Statement]) -> None:
    """Puts device statements into a batch, each under its own hash."""
    for statement in statements:
        batch.put(Table.META, _PREFIX + statement.identity + statement.id, statement.encoded)


def load_statements(store: Store) -> list[bytes]:
    """Every device statement that is kept, encoded."""
    return [value for _, value in store.scan(Table.META, _PREFIX, prefix_end(_PREFIX))]
