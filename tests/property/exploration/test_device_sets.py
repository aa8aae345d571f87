"""Every set of a few statements about four devices of one person: the fold of device sets keeps its promises.

The root key R certified A and C, and A certified B; D is new.  Three statements at a time of all that may be said, four
at a time of the more telling ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import combinations
from typing import Any, NamedTuple

import pytest

from identity import device_set
from identity.device_set import out_devices, standing_devices
from identity.evidence import chain, evidence
from identity.statement import Certificate, Revocation, Statement
from tests.property.membership.reference import load_model

ROOT = b"R" * 32
DEVICES = "ABCD"
LATE = 100  # when what follows the common past is signed
COUNT = 8903


def name32(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=32).digest()


DEVICE = {name32(device): device for device in DEVICES}


def certificate(device: str, by: str, generation: int = 1, keeps: str = "", at: int = LATE) -> Certificate:
    """keeps: the devices whose first certificates R lists."""
    who, issuer = name32(device), None if by == "R" else name32(by)
    stay = tuple(sorted(name32("first " + kept) for kept in keeps))
    id_ = name32(f"{device} by {by} {generation} {keeps}" if at == LATE else "first " + device)
    return Certificate(id_, ROOT, who, who, who, at, generation, issuer, stay)


def revocation(device: str, by: str, generation: int = 1, keeps: str = "") -> Revocation:
    issuer = None if by == "R" else name32(by)
    stay = tuple(sorted(name32("first " + kept) for kept in keeps))
    id_ = name32(f"{device} out by {by} {generation} {keeps}")
    return Revocation(id_, ROOT, name32(device), LATE, generation, issuer, stay)


PAST = (certificate("A", "R", at=1), certificate("B", "A", at=2), certificate("C", "R", at=1))

# The words of R in a new generation: one of these is said, and all that R says there carries the same list.
NEWEST = tuple(certificate("D", "R", 2, keeps) for keeps in ("", "A", "B", "AB", "ABC"))
REVOKED = tuple(revocation(device, by) for device in "ABC" for by in "ABCR")
SPARED = tuple(revocation(device, by, keeps="ABC") for device in "AC" for by in "ABC")
NEW = (*(certificate("D", by) for by in "ABCR"), certificate("B", "C"), certificate("A", "B"))
LATER = (certificate("D", "B", 2), revocation("B", "A", 2), revocation("A", "B", 2), revocation("D", "B", 2))
FEW = NEWEST + REVOKED + SPARED + NEW + LATER
TELLING = NEWEST[:4] + REVOKED[:8] + SPARED[:2] + NEW[:2] + LATER[:3]


def sets() -> Iterator[tuple[Statement, ...]]:
    """The common past with what was said since; R says one thing in a generation."""
    for size, given in ((0, FEW), (1, FEW), (2, FEW), (3, FEW), (4, TELLING)):
        for chosen in combinations(given, size):
            if sum(statement in NEWEST for statement in chosen) <= 1:
                yield PAST + chosen


def check(given: tuple[Statement, ...]) -> Iterator[str]:
    standing = standing_devices(given, ROOT)
    if standing is None or standing_devices(given[::-1], ROOT) != standing:
        yield "order matters, or the word of R is unknown"
        return
    out = out_devices(given, ROOT)
    certified = {s.device for s in given if isinstance(s, Certificate)}
    if standing | out != certified or standing & out:
        yield "a certified device is neither in nor out, or both"
    newest = max(s.generation for s in given if s.issuer is None)
    revoked = {s.device for s in given if isinstance(s, Revocation) and s.generation == newest}
    for device in out:
        if device not in revoked and not falls_with_another(device, given, newest, standing):
            yield f"{DEVICE[device]} is out though nobody revoked it, and R's newest word leaves it in"
    for device in standing:
        if any(s.device == device and s.issuer is None for s in of_generation(given, newest)):
            yield f"{DEVICE[device]} stands against a word of R"
        if newest == 1 and all(fallen_by_the_root(s, given) for s in certificates_of(device, given)):
            yield f"{DEVICE[device]} stands, whose certifiers R revoked"
        if newest == 2 and not kept_or_new(device, given):
            yield f"{DEVICE[device]} stands though the phrase left it out"
    yield from two_who_revoke_each_other(given, newest, standing)
    yield from what_is_told(given, standing, certified)


def of_generation(given: Iterable[Statement], newest: int) -> list[Revocation]:
    return [s for s in given if isinstance(s, Revocation) and s.generation == newest]


def falls_with_another(device: bytes, given: tuple[Statement, ...], newest: int, standing: frozenset[bytes]) -> bool:
    """Whether every certificate of it is of a lower generation and unlisted, or by a device that is out."""
    listed = {kept for s in given if s.issuer is None and s.generation == newest for kept in s.stay}
    for s in given:
        if isinstance(s, Certificate) and s.device == device:
            if s.generation > newest or (s.generation < newest and s.id not in listed):
                continue
            if s.issuer is None or s.id in listed or s.issuer in standing:
                return False
    return True


def certificates_of(device: bytes, given: Iterable[Statement]) -> list[Certificate]:
    return [s for s in given if isinstance(s, Certificate) and s.device == device and s.generation == 1]


def fallen_by_the_root(certificate: Certificate, given: tuple[Statement, ...]) -> bool:
    """Whether R revoked who issued it, and does not list it."""
    return any(
        s.issuer is None and s.device == certificate.issuer and certificate.id not in s.stay
        for s in of_generation(given, 1)
    )


def kept_or_new(device: bytes, given: tuple[Statement, ...]) -> bool:
    """Whether R lists a certificate of it, or one of the new generation names it."""
    listed = {kept for s in given if s.issuer is None and s.generation == 2 for kept in s.stay}
    mine = (s for s in given if isinstance(s, Certificate) and s.device == device)
    return any(s.id in listed or s.generation == 2 for s in mine)


def two_who_revoke_each_other(given: tuple[Statement, ...], newest: int, standing: frozenset[bytes]) -> Iterator[str]:
    """Both are out if both counted when they did it."""
    pairs = {(s.issuer, s.device) for s in of_generation(given, newest) if s.issuer is not None}
    for a, b in pairs:
        if newest == 1 and (b, a) in pairs and a != b and {a, b} & standing:
            yield f"{DEVICE[a]} and {DEVICE[b]} revoke each other and one stands"


def what_is_told(given: tuple[Statement, ...], standing: frozenset[bytes], certified: set[bytes]) -> Iterator[str]:
    """What a space is told of a device says the same alone as beside everything."""
    for device in certified:
        if device in standing:
            told = chain(given, ROOT, device)
            if device not in (standing_devices(told, ROOT) or ()):
                yield f"{DEVICE[device]} stands, and what is told of it does not show that"
            continue
        told = evidence(given, ROOT, device)
        beside = [told, *((*told, other) for other in given if other not in told)]
        if not told or any(device in (standing_devices(one, ROOT) or ()) for one in beside):
            yield f"{DEVICE[device]} is out, and what is told of it does not show that, whatever stands beside it"


def test_promises_hold_in_every_set_of_statements() -> None:
    count = 0
    for given in sets():
        count += 1
        assert list(check(given)) == [], [said(s) for s in given[3:]]
    assert count == COUNT, "docs/evidence/exploration.md names this figure"


def test_fold_equals_the_model_in_every_set_of_statements() -> None:
    model: Any = load_model()
    for given in sets():
        want = model.standing([in_words(model, s) for s in given])
        found = standing_devices(given, ROOT)
        assert found is not None and {DEVICE[device] for device in found} == want, [said(s) for s in given[3:]]


def in_words(model: Any, given: Statement) -> Any:
    by = "R" if given.issuer is None else DEVICE[given.issuer]
    stay, device = frozenset(kept.hex() for kept in given.stay), DEVICE[given.device]
    if isinstance(given, Certificate):
        return model.Cert(given.id.hex(), device, by, given.created, given.generation, stay)
    return model.Rev(given.id.hex(), device, by, stay, given.created, given.generation)


def said(s: Statement) -> str:
    by = "R" if s.issuer is None else DEVICE[s.issuer]
    deed = "certifies" if isinstance(s, Certificate) else "revokes"
    kept = "".join(sorted(d for d in "ABC" if name32("first " + d) in s.stay))
    return f"{by} {deed} {DEVICE[s.device]} in generation {s.generation}" + (f", keeping {kept}" if kept else "")


class Fault(NamedTuple):
    """A function of the fold, and what it does with one rule left out."""

    name: str
    instead: object


FAULTS = {
    "revocations of lower generations count": Fault(
        "counting",
        lambda statements, generation, reached: [s for s in statements if isinstance(s, Revocation)],
    ),
    "nothing falls with its issuer": Fault(
        "stand", lambda base, reached, revocations: {certificate.id for certificate in reached}
    ),
    "everything falls with its issuer": Fault(
        "outlast", lambda issued, reached, revocations: {r.device: set() for r in revocations}
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_exploration_of_device_sets_finds_the_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_set, FAULTS[name].name, FAULTS[name].instead)
    assert any(list(check(given)) for given in sets())
