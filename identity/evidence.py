"""Evidence: the fewest statements that show a device as standing, or as out (`docs/protocol.md`, "Device set").

What a space is told has to hold beside whatever else it knows of the identity, and a thief's hundreds of statements
must not keep it from being told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from identity.device_set import Fold, fold, relevant, standing_devices
from identity.statement import Certificate, Revocation, Statement


def chain(statements: Iterable[Statement], root: bytes, device: bytes) -> tuple[Statement, ...]:
    """What shows a standing device as one, complete by itself: the root key's words of the newest generation, the
    certificates from the root key down to the device, and the revocations of issuers on the way.  Empty if it does not
    stand."""
    given = [s for s in statements if s.identity == root]
    result = fold(given, root)
    if result is None or device not in result.since or device in result.revoked:
        return ()
    live = [c for c in result.reached if c.id in result.live]
    # A certificate of a revoked issuer may hang on more than the way to it: on why its revocation spares it.
    for certificates in ([c for c in live if c.issuer not in result.revoked], live):
        standing = _nearest(certificates, result)
        if device in standing:
            found = _shown(given, device, standing, result)
            if device in (standing_devices(found, root) or ()):
                return found
    return relevant(given, root)


def _shown(
    given: list[Statement], device: bytes, standing: Mapping[bytes, Certificate], result: Fold
) -> tuple[Statement, ...]:
    """The root key's words, the way down to the device, and the revocations of issuers on it."""
    found: dict[bytes, Statement] = {s.id: s for s in _words(given, result)}
    for certificate in _down_to(device, standing, result):
        found[certificate.id] = certificate
    ways = _nearest(result.reached, result)
    issuers = {s.issuer for s in found.values() if isinstance(s, Certificate)}
    for revocation in result.revocations:
        if revocation.device in issuers:
            found |= {s.id: s for s in _way(revocation, ways, result)}
    return tuple(found.values())


def evidence(statements: Iterable[Statement], root: bytes, device: bytes) -> tuple[Statement, ...]:
    """The fewest statements that show a device as out, whichever others of these stand beside them; empty if it stands.

    The root key's words of the newest generation and a certificate of the device, if there is one; then, if a
    revocation names it, one with the certificates down to its signer, else what made each certificate of it fall.
    """
    given = [s for s in statements if s.identity == root]
    result = fold(given, root)
    if result is None or (device in result.since and device not in result.revoked):
        return ()
    ways = _nearest(result.reached, result)
    found: dict[bytes, Statement] = {s.id: s for s in _words(given, result)}
    some = next((s for s in given if isinstance(s, Certificate) and s.device == device), None)
    certificate = ways.get(device, some)
    if certificate is not None:
        found[certificate.id] = certificate
    named = [_way(r, ways, result) for r in result.revocations if r.device == device]
    fallen = min(named, key=len) if named else _fallen(device, ways, result)
    return tuple((found | {s.id: s for s in fallen}).values())


def _fallen(device: bytes, ways: Mapping[bytes, Certificate], result: Fold) -> list[Statement]:
    """Every certificate of a reached device that no revocation names, and what each of them fell by."""
    reached: dict[bytes, list[Certificate]] = {}
    for c in result.reached:
        reached.setdefault(c.device, []).append(c)
    found: list[Statement] = []
    todo, seen = [device], {device}
    while todo:
        for c in reached.get(todo.pop(), ()):
            found.append(c)
            for r in result.revocations:
                if r.device == c.issuer and c.id not in r.stay:
                    found += _way(r, ways, result)
            if c.issuer is not None and c.issuer not in seen and c.issuer not in result.since:
                seen.add(c.issuer)
                todo.append(c.issuer)
    return found


def _words(statements: Iterable[Statement], result: Fold) -> list[Statement]:
    """What the root key said in its newest generation."""
    return [s for s in statements if s.issuer is None and s.generation == result.generation]


def _nearest(certificates: Iterable[Certificate], result: Fold) -> dict[bytes, Certificate]:
    """Device -> the certificate by which the root key reaches it first along these; no way of them runs in a circle."""
    issued: dict[bytes | None, list[Certificate]] = {}
    level: list[Certificate] = []
    for c in certificates:
        if c.issuer is None or c.generation < result.generation:
            level.append(c)
        else:
            issued.setdefault(c.issuer, []).append(c)
    found: dict[bytes, Certificate] = {}
    while level:
        new = []
        for c in level:
            if c.device not in found:
                found[c.device] = c
                new.append(c.device)
        level = [c for device in new for c in issued.get(device, ())]
    return found


def _down_to(device: bytes | None, nearest: Mapping[bytes, Certificate], result: Fold) -> list[Certificate]:
    """The certificates from a device up to the root key."""
    way: list[Certificate] = []
    while device is not None:
        certificate = nearest[device]
        way.append(certificate)
        # One of a lower generation is here because the root key lists it, whoever issued it.
        device = certificate.issuer if certificate.generation == result.generation else None
    return way


def _way(revocation: Revocation, nearest: Mapping[bytes, Certificate], result: Fold) -> list[Statement]:
    """A counting revocation with the certificates from the root key down to its signer."""
    return [revocation, *_down_to(revocation.issuer, nearest, result)]
