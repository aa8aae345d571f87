"""The device set of one identity: section 3 of docs/protocol.md, "Device set", as a fold over verified statements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from tests.second.statement import CERTIFICATE, REVOCATION, Statement

PLACES = 6


@dataclass(frozen=True, slots=True)
class DeviceSet:
    """What statements of one identity say of its devices."""

    certified: frozenset[bytes]
    standing: frozenset[bytes]
    active: tuple[bytes, ...]

    def stands(self, device: bytes) -> bool:
        """Not out, and with a standing certificate."""
        return device in self.standing

    def out(self, device: bytes) -> bool:
        """Certified, and not standing."""
        return device in self.certified and device not in self.standing


def fold_devices(statements: Iterable[Statement], identity: bytes) -> DeviceSet:
    """The device set of `identity`; statements of others are left aside."""
    return _fold(frozenset(one for one in statements if one.identity == identity))


@lru_cache(maxsize=1 << 14)
def _fold(statements: frozenset[Statement]) -> DeviceSet:
    certificates = [one for one in statements if one.kind == CERTIFICATE]
    certified = frozenset(one.device for one in certificates)
    of_root = [one for one in statements if not one.issuer]
    if not of_root:
        # Without a word of R nothing stands, and nothing is out either.
        return DeviceSet(frozenset(), frozenset(), ())
    newest = max(one.generation for one in of_root)
    listed = frozenset[bytes]().union(*(one.stay for one in of_root if one.generation == newest))

    # 1. Reached.
    begun = {one for one in certificates if not one.issuer and one.generation == newest}
    begun |= {one for one in certificates if one.generation < newest and one.id in listed}
    reached = set(begun)
    while True:
        devices = {one.device for one in reached}
        more = {one for one in certificates if one.generation == newest and one.issuer in devices} - reached
        if not more:
            break
        reached |= more

    # 2. Counting revocations.
    revocations = [
        one
        for one in statements
        if one.kind == REVOCATION and one.generation == newest and (not one.issuer or one.issuer in devices)
    ]
    revoked = {one.device for one in revocations}

    # 3. Standing.
    def kept(certificate: Statement, revocation: Statement) -> bool:
        return (
            certificate.id in revocation.stay
            or certificate in ground(reached, revocation.issuer)
            or revocation.issuer == certificate.issuer
        )

    standing = set(begun)
    while True:
        devices = {one.device for one in standing}
        more = {
            one
            for one in reached - standing
            if one.issuer in devices and all(kept(one, word) for word in revocations if word.device == one.issuer)
        }
        if not more:
            break
        standing |= more

    # 4. Since when each device counts: the earliest of its standing certificates, none before its issuer.
    since: dict[bytes, int] = {}
    while True:
        found = dict(since)
        for one in standing:
            start = one.created if one in begun else None
            if start is None and one.issuer in since:
                start = max(one.created, since[one.issuer])
            if start is not None:
                found[one.device] = min(start, found.get(one.device, start))
        if found == since:
            break
        since = found
    left = sorted((time, device) for device, time in since.items() if device not in revoked)
    return DeviceSet(certified, frozenset(d for _, d in left), tuple(d for _, d in left[:PLACES]))


def ground(reached: Iterable[Statement], device: bytes) -> frozenset[Statement]:
    """The certificates that a device may stand on: its own, those of their issuers, and so on up."""
    held = list(reached)
    found: set[Statement] = set()
    devices = {device}
    while True:
        more = {one for one in held if one.device in devices} - found
        if not more:
            return frozenset(found)
        found |= more
        devices |= {one.issuer for one in more}
